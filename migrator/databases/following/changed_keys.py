"""The keys of rows that have changed since they were copied, in a temporary file: there may be many."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator

from ..engines.base.change_feed import Change, ChangeFeed, KeyText, Moment

# In place of a key: any row of the table may have changed.
ANY_ROW = ""
SETTLED = 0
ADDED_AT_ONCE = 5_000


class ChangedKeys:
    """Keys by table and by transaction.

    A key is used in the first round whose snapshot sees its transaction: looked up before, its row would seem equal,
    and the change would be forgotten.
    """

    def __init__(self) -> None:
        # An anonymous file, which SQLite deletes with the connection (sqlite.org, "sqlite3_open").
        self._file = sqlite3.connect("", isolation_level=None)
        self._file.execute("PRAGMA journal_mode = OFF")
        self._file.execute(
            "CREATE TABLE changed (name TEXT, keytext TEXT, xact INTEGER, removes INTEGER, taken INTEGER DEFAULT 0, "
            "PRIMARY KEY (name, keytext, xact)) WITHOUT ROWID"
        )
        self._file.execute("CREATE INDEX changed_xact ON changed (xact)")
        # Those that feeds have reported.
        self.changes = 0

    def read(self, feed: ChangeFeed) -> None:
        """Add all that a feed has to report.

        Raises :exc:`~migrator.databases.engines.base.change_feed.FeedLost`.
        """
        self.changes += self._add(feed.read())

    def settle(self, feed: ChangeFeed) -> None:
        """Join the keys of transactions that every snapshot sees which begins from now on: there may be many."""
        unsettled = self._file.execute("SELECT DISTINCT xact FROM changed WHERE xact <> ?", (SETTLED,)).fetchall()
        for (transaction,) in unsettled:
            if feed.settled(transaction):
                self._file.execute(
                    "INSERT INTO changed (name, keytext, xact, removes) "
                    "SELECT name, keytext, ?, removes FROM changed WHERE xact = ? "
                    "ON CONFLICT DO UPDATE SET removes = max(removes, excluded.removes), taken = 0",
                    (SETTLED, transaction),
                )
                self._file.execute("DELETE FROM changed WHERE xact = ?", (transaction,))

    def _add(self, changes: Iterable[Change]) -> int:
        """Add changes, and return how many they are."""
        page: list[tuple[str, str, int, bool]] = []
        count = 0
        for change in changes:
            count += 1
            page.append((change.table, _text(change.key), change.transaction, change.removes))
            if len(page) == ADDED_AT_ONCE:
                self._insert(page)
        self._insert(page)
        return count

    def _insert(self, page: list[tuple[str, str, int, bool]]) -> None:
        self._file.execute("BEGIN")
        self._file.executemany(
            "INSERT INTO changed (name, keytext, xact, removes) VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET removes = max(removes, excluded.removes), taken = 0",
            page,
        )
        self._file.execute("COMMIT")
        page.clear()

    def mark(self, tables: Iterable[str]) -> None:
        """Note that any row of these tables may have changed."""
        self._add(Change(name, None, SETTLED) for name in tables)

    def take(self, moment: Moment) -> None:
        """Begin a round: choose the keys whose transactions its snapshot sees."""
        self._file.execute("UPDATE changed SET taken = 0 WHERE taken <> 0")
        self._file.execute("UPDATE changed SET taken = 1 WHERE xact = ?", (SETTLED,))
        for (transaction,) in self._file.execute("SELECT DISTINCT xact FROM changed WHERE taken = 0").fetchall():
            taken = 1 if moment.sees(transaction) else 2 if moment.may_see(transaction) else 0
            self._file.execute("UPDATE changed SET taken = ? WHERE xact = ?", (taken, transaction))

    def take_all(self) -> None:
        """Choose all keys, also those of transactions that no snapshot sees yet."""
        self._file.execute("UPDATE changed SET taken = 1")

    def tables(self) -> list[str]:
        """Return the tables with keys in this round."""
        return [name for (name,) in self._file.execute("SELECT DISTINCT name FROM changed WHERE taken > 0")]

    def has_any_row(self, table: str) -> bool:
        """Whether any row of a table may have changed in this round."""
        sql = "SELECT 1 FROM changed WHERE name = ? AND keytext = ? AND taken > 0"
        return self._file.execute(sql, (table, ANY_ROW)).fetchone() is not None

    def keys(self, table: str) -> Iterator[tuple[KeyText, bool]]:
        """Yield each key of a table in this round, and whether one of the databases has to have its row."""
        found = self._file.execute(
            "SELECT keytext, max(removes), max(taken) FROM changed WHERE name = ? AND keytext <> ? AND taken > 0 "
            "GROUP BY keytext",
            (table, ANY_ROW),
        )
        yield from ((_key(text), not removes and taken == 1) for text, removes, taken in found)

    def count(self, but: Collection[str] = ()) -> int:
        """Return how many keys this round has, without those of some tables."""
        found = self._file.execute(
            "SELECT name, count(*) FROM (SELECT DISTINCT name, keytext FROM changed WHERE taken > 0) GROUP BY name"
        )
        return sum(count for name, count in found if name not in but)

    def carried(self) -> int:
        """Return how many keys wait for a later round, because this one's snapshot does not see them."""
        return int(self._file.execute("SELECT count(*) FROM changed WHERE taken <> 1").fetchone()[0])

    def forget(self) -> None:
        """End a round that was committed: forget its keys."""
        self._file.execute("DELETE FROM changed WHERE taken = 1")

    def clear(self) -> None:
        """Forget all keys, because all rows are compared."""
        self._file.execute("DELETE FROM changed")

    def close(self) -> None:
        self._file.close()


def _text(key: KeyText | None) -> str:
    if key is None:
        return ANY_ROW
    return json.dumps([{"hex": value.hex()} if isinstance(value, bytes) else value for value in key])


def _key(text: str) -> KeyText:
    return tuple(bytes.fromhex(value["hex"]) if isinstance(value, dict) else value for value in json.loads(text))
