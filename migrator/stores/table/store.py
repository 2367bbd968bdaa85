"""Django's ``DatabaseCache``: pickles in base64 in a table, expiry in whole seconds."""

from __future__ import annotations

import datetime as dt
import pickle
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from typing import Any

from django.db import router

from ...clock import from_datetime, now
from ..base import WHOLE, Record, Share
from ..key_store import KeyStore
from ..stored_values import Value
from . import open_table, server_time
from .layout import KeyedRow, Layout
from .reading import NEVER

# The length of the column in createcachetable.
LONGEST_KEY = 255
# Anything later than the year 9990 means never, whatever the time zone did to it.
_ALMOST_NEVER = from_datetime(dt.datetime(9990, 1, 1, tzinfo=dt.UTC))


class TableStore(KeyStore):
    """The table of a cache. Reads and writes go where the backend's router sends writes."""

    can_list_keys = True
    has_size_limit = True

    def __init__(self, *, alias: str, cache: Any, trust_pickle: bool) -> None:
        super().__init__(alias=alias, cache=cache, trust_pickle=trust_pickle)
        database = router.db_for_write(cache.cache_model_class)
        layout = Layout(cache._table, "cache_key", "value", "expires", missing_hint="Run createcachetable for it first")
        self._table = open_table(alias=database, layout=layout, is_there=True)

    def check_reachable(self) -> None:
        self._table.check_exists()

    def server_time(self) -> int | None:
        return server_time(self._table.connection)

    def address(self) -> str:
        return f"database {self._table.alias!r}: {self._table.address()}"

    def locations(self) -> frozenset[str]:
        return frozenset({self._table.identity()})

    @property
    def can_open_again(self) -> bool:
        return self._table.can_open_again

    def databases(self) -> frozenset[str]:
        return frozenset({self._table.alias})

    def blind_spot(self) -> str | None:
        return self._table.blind_spot()

    def demand_all(self) -> None:
        self._table.demands_all = True

    def encoding(self) -> str:
        return "pickle in base64"

    def capacity(self) -> int | None:
        return int(self.cache._max_entries)

    def held(self) -> int:
        # With CULL_FREQUENCY 0 the backend counts expired rows, too, and then clears the table: DatabaseCache._cull().
        return self._table.count(with_expired=self.cache._cull_frequency == 0)

    def fits(self, record: Record) -> str | None:
        if self._table.limits_lengths and len(self.space.raw(record.key)) > LONGEST_KEY:
            return f"its key is longer than the table allows ({LONGEST_KEY} characters)"
        return None

    def keys(self, size: int, share: Share = WHOLE) -> Iterator[list[str]]:
        for page in self._table.pages(size, like=self.space.head):
            keys = (self.space.key(row.key) for row in page)
            yield [key for key in keys if key is not None and share.holds(key)]

    def fetch(self, keys: Sequence[str]) -> dict[str, Record]:
        by_raw = {self.space.raw(key): key for key in keys}
        return {
            by_raw[raw]: Record(by_raw[raw], row.value.encode(), None if row.expires > _ALMOST_NEVER else row.expires)
            for raw, row in self._table.fetch(list(by_raw)).items()
        }

    def add(self, records: Sequence[Record]) -> set[str]:
        moment = now()
        live = [record for record in records if (self.rounded(record.expires) or NEVER) > moment]
        rows = {self.space.raw(record.key): record for record in live}
        if len(rows) == 1:
            ((raw, record),) = rows.items()
            return {record.key} if self._table.insert(self._row(raw, record)) else set()
        written = self._table.add([self._row(raw, record) for raw, record in rows.items()]) if rows else set()
        return {rows[raw].key for raw in written}

    def update(self, record: Record) -> bool:
        return self._table.update(self._row(self.space.raw(record.key), record))

    def replace(self, pairs: Sequence[tuple[Record, Record]]) -> set[str]:
        keys = {self.space.raw(seen.key): seen.key for seen, _ in pairs}
        rows = [tuple(self._row(self.space.raw(seen.key), record) for record in (seen, new)) for seen, new in pairs]
        return {keys[raw] for raw in self._table.replace([(seen, new) for seen, new in rows])}

    def discard(self, records: Sequence[Record]) -> set[str]:
        keys = {self.space.raw(seen.key): seen.key for seen in records}
        rows = [self._row(self.space.raw(seen.key), seen) for seen in records]
        return {keys[raw] for raw in self._table.discard(rows)}

    def _row(self, raw: str, record: Record) -> KeyedRow:
        expires = self.rounded(record.expires)
        return KeyedRow(raw, record.raw.decode("ascii"), NEVER if expires is None else expires)

    def rounded(self, expires: int | None) -> int | None:
        return None if expires is None else min(super().rounded(expires) or 0, NEVER)

    def same_expiry(self, one: int | None, other: int | None) -> bool:
        # What means never to the backend has no time to live, however it was written.
        never = [moment is None or moment > _ALMOST_NEVER for moment in (one, other)]
        return never[0] == never[1] if any(never) else super().same_expiry(one, other)

    def decode(self, raw: bytes) -> Any:
        return self._unpickle(b64decode(raw))

    def encode(self, value: Any, expires: int | None) -> bytes:
        return b64encode(pickle.dumps(value, self.cache.pickle_protocol))

    def unwrap(self, raw: bytes) -> Value:
        return Value.of_pickle(b64decode(raw))

    def wrap(self, value: Value) -> bytes:
        return b64encode(value.as_pickle())
