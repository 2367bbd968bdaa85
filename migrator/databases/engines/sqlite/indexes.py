"""SQLite: indexes that two files have alike.

``INSERT INTO … SELECT *`` into an empty table copies its rows as they are stored, where both tables are made alike, and
then the entries of their indexes in the order that they have there (sqlite.org/src, insert.c: the transfer
optimization). To make the indexes anew afterwards, all entries would have to be sorted.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..base.session import DatabaseSession

# Orders that are the same whoever opens the file.
COLLATIONS = ("BINARY", "NOCASE", "RTRIM")
# What only a program has that takes rows as they are stored (sqlite.org/opcode.html).
AS_STORED = {"RowCell", "RowData"}

# Whether it is unique; the position, the direction and the collation of each column.
Form = tuple[bool, tuple[tuple[int, int, str], ...]]


def forms(session: DatabaseSession, schema: str, table: str) -> dict[str, Form | None]:
    """Tell by name what each index of a table is like; ``None`` where its columns alone do not tell what is in it."""
    found: dict[str, Form | None] = {}
    for _, name, unique, _, is_partial in session.fetch_all(f"PRAGMA {schema}.index_list({session.quote(table)})"):
        entries = session.fetch_all(f"PRAGMA {schema}.index_xinfo({session.quote(name)})")
        columns = tuple((position, descends, order) for _, position, _, descends, order, is_key in entries if is_key)
        is_plain = not is_partial and all(at >= 0 and order in COLLATIONS for at, _, order in columns)
        found[name] = (bool(unique), columns) if is_plain else None
    return found


def are_complete(session: DatabaseSession, schema: str, table: str, indexes: Iterable[str]) -> bool:
    """Tell whether each of these indexes has an entry for every row: one that is damaged may not."""
    name = f"{schema}.{session.quote(table)}"
    places = ("NOT INDEXED", *(f"INDEXED BY {session.quote(index)}" for index in indexes))
    # Without a condition, SQLite counts the entries of whatever index is the smallest.
    return len({session.fetch_value(f"SELECT COUNT(*) FROM {name} {place} WHERE 1") for place in places}) == 1


def copies_as_stored(session: DatabaseSession, statement: str) -> bool:
    """Tell whether SQLite takes an ``INSERT`` for one that it can make of rows as they are stored."""
    return any(opcode in AS_STORED for _, opcode, *_ in session.fetch_all(f"EXPLAIN {statement}"))
