"""The keys of rows are found in the decoder's lines, whatever names and values stand around them."""

from __future__ import annotations

import os
import random
import resource
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import connections

from migrator.databases.engines.postgresql.change_feed import PLUGIN
from migrator.databases.engines.postgresql.decoded_changes import TABLE, Line, NotUnderstood, read_line
from tests.databases.edge_values import TEXTS
from tests.servers.databases import FreshDatabases

# Other test processes use the same server.
SLOT = f"lines_{os.getpid()}"
SEEDS = range(6, 14)
TABLES_OF_A_SEED = 4
LONGEST_NAME = 63  # bytes

# What looks like the decoder's own words, to a reader who searches for them.
WORDS = [
    "id[bigint]:7", " id[bigint]:7", "' id[bigint]:7", "old-key:", " new-tuple: id[bigint]:8", "unchanged-toast-datum",
    "table public.x: DELETE: (no-tuple-data)", "(no-tuple-data)", "B'01'", "null", "[", "]", "]:", "[]", "\"", "'", ":",
    ", ", ".", "\\", "\n", " ", "é", "😀", "%s", "%", "$1", "A", "a", "_1",
]  # fmt: skip
VALUES = [*WORDS, *(edge.value for edge in TEXTS if edge.value is not None and "\0" not in edge.value)]
RESERVED = ["select", "user", "table", "order", "a", "Table", "new-tuple"]


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def named(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@dataclass
class Column:
    """A column: its type in SQL, and how a value of it is made."""

    name: str
    type: str
    is_key: bool = False

    def value(self, choose: random.Random, types: Types) -> str:
        """Return a value in SQL."""
        text = quoted("".join(choose.choices(VALUES, k=choose.randint(0, 4))))
        number = choose.randint(-(10**9), 10**9)
        bits = "".join(choose.choices("01", k=5))
        made = {
            "bigint": str(number),
            "numeric": choose.choice([str(number), "'NaN'", "'Infinity'", "1e30"]),
            "float8": choose.choice([str(number), "'-Infinity'", "1e-300"]),
            "boolean": choose.choice(["true", "false"]),
            "bit(5)": f"B'{bits}'",
            "varbit": f"B'{bits[: choose.randint(0, 5)]}'",
            "text": text,
            "char(9)": f"left({text}, 9)",
            '"char"': "'x'",
            "bytea": f"convert_to({text}, 'UTF8')",
            "json": f"to_json({text}::text)",
            "jsonb": f"jsonb_build_object({text}::text, {text}::text)",
            "text[]": f"ARRAY[{text}, NULL, {text}]",
            "bit(5)[]": f"ARRAY[B'{bits}']",
            "uuid": "gen_random_uuid()",
            "timestamptz": f"to_timestamp({abs(number)})",
            "interval": f"make_interval(secs => {number % 10**6})",
            types.enum: f"{quoted(types.member)}::{types.enum}",
            f"{types.enum}[]": f"ARRAY[{quoted(types.member)}]::{types.enum}[]",
            types.domain: text,
            types.row: f"ROW({text}, {number})::{types.row}",
        }
        if not self.is_key and choose.random() < 0.15:
            return "NULL"
        return made[self.type]


@dataclass
class Types:
    """Types of the user's own, with names like those of tables."""

    enum: str
    member: str
    domain: str
    row: str


PLAIN = ["bigint", "numeric", "float8", "boolean", "bit(5)", "varbit", "text", "char(9)", '"char"', "bytea", "json",
         "jsonb", "text[]", "bit(5)[]", "uuid", "timestamptz", "interval"]  # fmt: skip
OF_KEYS = ["bigint", "numeric", "boolean", "varbit", "text", "bytea", "uuid", "timestamptz", "interval"]
IDENTITIES = ["DEFAULT", "DEFAULT", "FULL", "NOTHING", "INDEX"]


@dataclass
class Written:
    """What a table's lines have to say."""

    table: str
    key: list[str]
    lines: list[tuple[str, Any, Any]] = field(default_factory=list)


class Writer:
    """Makes tables with odd names and changes their rows, by one session."""

    def __init__(self, cursor: Any, choose: random.Random, taken: set[str]) -> None:
        self._cursor, self._choose, self._taken = cursor, choose, taken

    def name(self) -> str:
        while True:
            name = "".join(self._choose.choices([*WORDS, *RESERVED], k=self._choose.randint(1, 4)))
            name = name.encode()[:LONGEST_NAME].decode(errors="ignore")
            if name and name not in self._taken and not name.startswith("pg_"):
                self._taken.add(name)
                return name

    def run(self, sql: str) -> Any:
        self._cursor.execute(sql)
        return self._cursor.fetchone()[0] if self._cursor.description else None

    def make(self) -> Written:
        choose, schema = self._choose, named(self.name())
        table = f"{schema}.{named(self.name())}"
        member = "".join(choose.choices(WORDS, k=2)) or "x"
        types = Types(*(f"{schema}.{named(self.name())}" if i != 1 else member for i in range(4)))
        self.run(f"CREATE SCHEMA {schema}")
        self.run(f"CREATE TYPE {types.enum} AS ENUM ({quoted(member)})")
        self.run(f"CREATE DOMAIN {types.domain} AS text")
        self.run(f"CREATE TYPE {types.row} AS ({named(self.name())} text, {named(self.name())} bigint)")
        own = [types.enum, f"{types.enum}[]", types.domain, types.row]
        columns = [Column(self.name(), choose.choice([*PLAIN, *own, *own])) for _ in range(choose.randint(2, 6))]
        keys = [Column(self.name(), choose.choice(OF_KEYS), is_key=True) for _ in range(choose.randint(1, 3))]
        # Texts have the most room for what looks like something else.
        keys[0].type = choose.choice(["text", keys[0].type])
        other = Column(self.name(), "uuid", is_key=True)
        large = Column(self.name(), "text", is_key=True)
        every = [*columns, *keys, other, large]
        choose.shuffle(every)
        key = ", ".join(named(column.name) for column in keys)
        self.run(f"CREATE TABLE {table} ({', '.join(f'{named(c.name)} {c.type}' for c in every)}, PRIMARY KEY ({key}))")
        self.run(f"ALTER TABLE {table} ALTER {named(large.name)} SET STORAGE EXTERNAL")
        identity = choose.choice(IDENTITIES)
        if identity == "INDEX":
            index = named(self.name())
            self.run(f"ALTER TABLE {table} ALTER {named(other.name)} SET NOT NULL")
            self.run(f"CREATE UNIQUE INDEX {index} ON {table} ({named(other.name)})")
            identity = f"USING INDEX {index}"
        self.run(f"ALTER TABLE {table} REPLICA IDENTITY {identity}")
        self._cursor.execute(
            f"SELECT quote_ident(nspname) || '.' || quote_ident(relname) FROM pg_class c JOIN pg_namespace n"
            f" ON n.oid = relnamespace WHERE c.oid = {quoted(table)}::regclass"
        )
        written = Written(self._cursor.fetchone()[0], [self.run(f"SELECT quote_ident({quoted(c.name)})") for c in keys])
        for _ in range(choose.randint(2, 4)):
            self._change_a_row(table, written, every, keys, other, large, types, identity)
        return written

    def _change_a_row(
        self, table: str, written: Written, every: list[Column], keys: list[Column], other: Column, large: Column,
        types: Types, identity: str,
    ) -> None:  # fmt: skip
        """Insert a row, change it, change its key if that works, and delete it."""
        choose = self._choose
        values = {column.name: column.value(choose, types) for column in every}
        values[large.name] = f"{values[large.name]} || repeat(md5(random()::text), {choose.choice([1, 500])})"
        texts = ", ".join(f"{named(column.name)}::text" for column in keys)
        where = f"{named(other.name)} = "

        def key_now(sql: str) -> tuple[str, ...]:
            self._cursor.execute(sql)
            (number, *found) = self._cursor.fetchone()
            nonlocal row
            row = number
            return tuple(found)

        def before(key: tuple[str, ...]) -> tuple[str, ...] | None:
            return key if identity in ("DEFAULT", "FULL") else None

        row = ""
        key = key_now(
            f"INSERT INTO {table} ({', '.join(map(named, values))}) VALUES ({', '.join(values.values())})"
            f" RETURNING {named(other.name)}, {texts}"
        )
        written.lines.append(("INSERT", None, key))
        # Nothing in it changes, so a large value is not in the line.
        same = next(column.name for column in every if not column.is_key)
        self.run(f"UPDATE {table} SET {named(same)} = {named(same)} WHERE {where}'{row}'")
        written.lines.append(("UPDATE", key if identity == "FULL" else None, key))
        changed = choose.choice(keys)
        new_key = key_now(
            f"UPDATE {table} SET {named(changed.name)} = {changed.value(choose, types)} WHERE {where}'{row}'"
            f" RETURNING {named(other.name)}, {texts}"
        )
        is_told = identity == "FULL" or (identity == "DEFAULT" and new_key != key)
        written.lines.append(("UPDATE", key if is_told else None, new_key))
        self.run(f"DELETE FROM {table} WHERE {where}'{row}'")
        written.lines.append(("DELETE", before(new_key), None))


@contextmanager
def slot(databases: FreshDatabases) -> Iterator[tuple[Any, Any]]:
    """Yield the cursors of a session that writes, and of one with a slot."""
    databases.fresh("postgresql_a")
    sessions = [connections["postgresql_a"].copy() for _ in range(2)]
    with closing(sessions[0]) as one, closing(sessions[1]) as other, one.cursor() as writer, other.cursor() as reader:
        reader.execute("SELECT pg_create_logical_replication_slot(%s, %s, true)", (SLOT, PLUGIN))
        writer.execute("SET synchronous_commit = on")
        yield writer, reader


def lines_of(reader: Any) -> list[str]:
    reader.execute(
        f"SELECT data FROM pg_logical_slot_get_changes('{SLOT}', NULL, NULL, 'include-xids', '0', 'skip-empty-xacts',"
        " '1')"
    )
    return [data for (data,) in reader.fetchall() if data.startswith(TABLE)]


@pytest.mark.postgresql
def test_keys_among_hostile_names_and_values(databases: FreshDatabases) -> None:
    with slot(databases) as (writer, reader):
        taken: set[str] = set()
        for seed in SEEDS:
            maker = Writer(writer, random.Random(seed), taken)  # noqa: S311 - the same tables in each run
            written = {one.table: one for one in (maker.make() for _ in range(TABLES_OF_A_SEED))}
            keys = {name: one.key for name, one in written.items()}
            lines = lines_of(reader)
            for line in lines:
                found = read_line(line, keys)
                (name,) = found.tables
                assert (found.action, found.before, found.after) == written[name].lines.pop(0), (seed, line)
            assert not any(one.lines for one in written.values()), seed
            writer.execute(f"TRUNCATE {', '.join(written)}")
            (line,) = lines_of(reader)
            truncated = read_line(line, keys)
            assert (set(truncated.tables), truncated.action) == (set(written), "TRUNCATE"), seed


@pytest.mark.postgresql
def test_rows_without_a_key(databases: FreshDatabases) -> None:
    with slot(databases) as (writer, reader):
        writer.execute("CREATE TABLE bare (a text, b text)")
        writer.execute("INSERT INTO bare VALUES (NULL, 'a[text]:''x''')")
        writer.execute("UPDATE bare SET b = NULL")
        writer.execute("DELETE FROM bare")
        keys = {"public.bare": ["a"]}
        found = [read_line(line, keys) for line in lines_of(reader)]
        assert [(line.action, line.before) for line in found] == [("INSERT", None), ("UPDATE", None), ("DELETE", None)]


@pytest.mark.postgresql
def test_a_key_that_is_stored_apart_from_its_row(databases: FreshDatabases) -> None:
    """The new row does not have it if it did not change, and the old key has it."""
    code = "".join(random.Random(1).choices("abcdefghijklmnop", k=2500))  # noqa: S311
    with slot(databases) as (writer, reader):
        writer.execute("CREATE TABLE apart (v integer, code text PRIMARY KEY, number integer)")
        writer.execute("ALTER TABLE apart ALTER code SET STORAGE EXTERNAL")
        writer.execute(f"INSERT INTO apart VALUES (1, '{code}', 1)")
        writer.execute("UPDATE apart SET v = 2")
        lines = lines_of(reader)
        assert "unchanged-toast-datum" in lines[-1]
        assert [read_line(line, {"public.apart": ["code"]}).after for line in lines] == [(code,)] * 2


def test_a_key_that_says_that_it_is_unchanged() -> None:
    line = "table a.b: UPDATE: old-key: c[text]:'x' new-tuple: c[text]:'unchanged-toast-datum'"
    assert read_line(line, {"a.b": ["c"]}) == Line(("a.b",), "UPDATE", ("x",), ("unchanged-toast-datum",))


def test_a_table_that_no_one_follows_is_not_read() -> None:
    assert read_line("table a.b: INSERT: what[ever", {}) == Line(("a.b",), "INSERT")


@pytest.mark.parametrize(
    "line",
    [
        "table ",
        "table a: INSERT: id[bigint]:1",
        "table a.b: MERGE: id[bigint]:1",
        "table a.b: INSERT: v[text]:'never ends id[bigint]:1",
        "table a.b: INSERT: v[text]:'a' 'b' id[bigint]:1",
        'table a.b: INSERT: v["never ends]:1 id[bigint]:1',
        f"table a.b: INSERT: v[{chr(34) * 80}x:1 id[bigint]:1",
        "table a.b: UPDATE: old-key: id[bigint]:1 v[text]:'new-tuple: id[bigint]:2'",
    ],
)
def test_a_line_in_another_form_is_refused(line: str) -> None:
    with pytest.raises(NotUnderstood):
        read_line(line, {"a.b": ["id"]})


@pytest.mark.parametrize("value", ["x" * 10_000_000, "''" * 5_000_000], ids=["letters", "quotes"])
def test_a_large_value_takes_little_time_and_no_memory(value: str) -> None:
    line = f"table a.b: INSERT: v[text]:'{value}' id[bigint]:7"
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    assert read_line(line, {"a.b": ["id"]}).after == ("7",)
    assert time.process_time() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # KiB
