"""SQLite: unique indexes and checks, as its catalogue describes them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from django.db import transaction

from ...tables import StoredColumn
from ..base.constraints import NUMBER, PROBE, Check, Constraints, UniqueIndex

# An INTEGER PRIMARY KEY is the table itself and has no index (sqlite.org/lang_createtable.html#rowid).
UNIQUE_SQL = """
SELECT l.name, i.name, m.sql, i.coll FROM pragma_index_list(%s) l JOIN pragma_index_xinfo(l.name) i
LEFT JOIN sqlite_master m ON m.type = 'index' AND m.name = l.name
WHERE l."unique" = 1 AND i.key = 1 ORDER BY l.name, i.seqno
"""
PARTIAL_SQL = 'SELECT name FROM pragma_index_list(%s) WHERE "unique" = 1 AND partial = 1'
KEY_SQL = "SELECT name FROM pragma_table_info(%s) WHERE pk > 0 ORDER BY pk"
TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|--[^\n]*|/\*.*?\*/|\w+|\S""", re.DOTALL)


class SQLiteConstraints(Constraints):
    """The constraints of SQLite's tables."""

    def unique_indexes(self, tables: Collection[str]) -> dict[str, list[UniqueIndex]]:
        return {table: self._unique_indexes(self.stored_name(table)) for table in tables}

    def _unique_indexes(self, table: str) -> list[UniqueIndex]:
        parts: defaultdict[tuple[str, str | None], list[str | None]] = defaultdict(list)
        collations: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        for name, column, sql, collation in self.fetch_all(UNIQUE_SQL, (table,)):
            parts[name, sql].append(column)
            if column is not None:
                collations[name, collation.upper()].add(column)
        partial = {name for (name,) in self.fetch_all(PARTIAL_SQL, (table,))}
        found = [
            UniqueIndex(
                name if sql else "",
                tuple(columns),
                sql if name in partial else None,
                definition=sql,
                # The only built-in collations that do so (sqlite.org/datatype3.html#collating_sequences).
                ignores_case=frozenset(collations[name, "NOCASE"]),
                ignores_spaces=frozenset(collations[name, "RTRIM"]),
            )
            for (name, sql), columns in parts.items()
        ]
        key = tuple(name for (name,) in self.fetch_all(KEY_SQL, (table,)))
        if len(key) == 1 and not any(index.columns == key for index in found):
            found.append(UniqueIndex("the primary key", key))
        return found

    def checks(self, tables: Collection[str]) -> dict[str, list[Check]]:
        return {table: list(self._checks(self.stored_name(table))) for table in tables}

    def _checks(self, table: str) -> Iterator[Check]:
        sql = self._definition(table)
        # Not validated: PRAGMA ignore_check_constraints admits any row (sqlite.org/pragma.html).
        yield from (Check(name, expression) for name, expression in checks_in(sql))

    def _definition(self, table: str) -> str:
        return self.fetch_value("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = %s", (table,)) or ""

    @contextmanager
    def probe(self, table: str, columns: Collection[StoredColumn]) -> Iterator[None]:
        parts = [f"{NUMBER} integer"]
        collations = collations_in(self._definition(self.stored_name(table)))
        for column in columns:
            collation = collations.get(column.name, "BINARY").replace("%", "%%")
            parts.append(f"{self.quote(column.name)} {column.declared.replace('%', '%%')} COLLATE {collation}")
        with transaction.atomic(using=self.alias):
            self.execute(f"CREATE TEMPORARY TABLE {PROBE} ({', '.join(parts)})")
            yield
            transaction.set_rollback(True, using=self.alias)


def checks_in(definition: str) -> Iterator[tuple[str, str]]:
    """Yield the CHECK constraints in a CREATE TABLE statement: the name, or an empty text, and the expression."""
    found = list(TOKEN.finditer(definition))
    words = [token[0] for token in found]
    position = 0
    while position < len(words):
        if words[position].upper() != "CHECK" or words[position + 1 : position + 2] != ["("]:
            position += 1
            continue
        is_named = position >= 2 and words[position - 2].upper() == "CONSTRAINT"
        name = unquoted(words[position - 1]) if is_named else ""
        end = _closing(words, position + 1)
        yield name, definition[found[position + 1].end() : found[end].start()]
        position = end + 1


def collations_in(definition: str) -> dict[str, str]:
    """Return the collations in a CREATE TABLE statement, by column."""
    words = [token[0] for token in TOKEN.finditer(definition)]
    found, depth, column = {}, 0, ""
    for position, word in enumerate(words):
        before = words[position - 1] if position else ""
        if depth == 1 and before in ("(", ","):
            column = unquoted(word)
        if depth == 1 and before.upper() == "COLLATE":
            found[column] = word
        depth += {"(": 1, ")": -1}.get(word, 0)
    return found


def _closing(words: list[str], opening: int) -> int:
    depth = 0
    for position in range(opening, len(words)):
        depth += {"(": 1, ")": -1}.get(words[position], 0)
        if not depth:
            return position
    return len(words) - 1


def unquoted(name: str) -> str:
    """Return an identifier without its quotes."""
    opening, closing = name[:1], name[-1:]
    if opening == "[":
        return name[1:-1]
    return name[1:-1].replace(2 * closing, closing) if opening in ('"', "`") else name
