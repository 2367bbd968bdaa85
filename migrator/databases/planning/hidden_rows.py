"""What a session does not see of the tables that a run is about, or sees otherwise than a table's own rows.

What is hidden stops a run: a copy without hidden rows looks complete, and so does its verification.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ...console.wording import plural, shortened
from ...errors import Refused
from ..endpoints import Endpoints
from ..engines.base.engine import Engine
from ..engines.base.visibility import FOREIGN_TABLE, STORED_VIEW, VERSIONED_TABLE, VIEW, Child, VisibleTable
from ..findings import Finding
from ..journal.checks import holds_unfinished_run
from ..journal.records import TABLES as JOURNAL
from ..tables import Table, shown_name
from .natural_keys import consulted_tables
from .selection import Selection

SHOWN = 5
END_IT_FIRST = "Finish that run first (the command that fills {alias!r}, with --resume), or end it (--cleanup)."
UNFINISHED = "it holds an unfinished run: rows may be missing there, and indexes and keys may be off"
# What a query over something that is no plain table leaves out.
LEFT_OUT: Mapping[str, str] = {
    VIEW: "views: only the rows that they show are read",
    STORED_VIEW: "materialized views: rows are read as of their last refresh",
    FOREIGN_TABLE: "foreign tables: rows are read from another server, as its user sees them, outside of the snapshot",
    VERSIONED_TABLE: "system-versioned tables: only current rows are read, not their history",
}

Sight = Mapping[str, VisibleTable]


@dataclass(frozen=True)
class Sights:
    """What the sessions of both ends see of a run's tables, and of those that are consulted for them."""

    source: Sight
    dest: Sight

    def schemas(self, tables: Sequence[Table]) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Give the schemas of tables in the source and the destination, where those have schemas."""
        source, dest = (
            {table.name: schema for table in tables if table.name in sight and (schema := sight[table.name].schema)}
            for sight in (self.source, self.dest)
        )
        return source, dest


def look(engine: Engine, tables: Sequence[Table], *more: str) -> Sight:
    """Ask what a session sees of tables, and of ``more``."""
    return engine.visibility.visible_tables(list(dict.fromkeys([*(table.name for table in tables), *more])))


def look_at_both(endpoints: Endpoints, tables: Sequence[Table]) -> Sights:
    """Ask what both sessions of a run see of its tables, and of all that is consulted for them."""
    consulted = [*referred(tables), *consulted_tables()]
    return Sights(look(endpoints.source, tables, *consulted), look(endpoints.dest, tables, *consulted))


def referred(tables: Sequence[Table]) -> list[str]:
    """Name the tables that these have foreign keys to."""
    return [ref.target_table for table in tables for ref in table.references if ref.has_constraint]


def check_sights(endpoints: Endpoints, sights: Sights, tables: Sequence[Table]) -> Iterator[Finding]:
    """Find what hides rows or columns of either end, and what is read otherwise than a table's own rows."""
    if holds_unfinished_run(endpoints.source) and not _is_journal_of(endpoints.dest, endpoints.source):
        yield Finding(endpoints.source.alias, UNFINISHED, END_IT_FIRST.format(alias=endpoints.source.alias))
    yield from check_source(endpoints.source, sights.source, tables)
    yield from check_dest(endpoints.dest, sights.dest, tables)
    yield from notes(endpoints.source, sights.source, tables)
    for engine, sight in ((endpoints.source, sights.source), (endpoints.dest, sights.dest)):
        yield from _several_schemas(engine, sight, tables)


def _is_journal_of(dest: Engine, source: Engine) -> bool:
    """Whether it is the destination's own journal that is seen from the source, in another schema of one database."""
    one, other = (engine.visibility.visible_tables(JOURNAL).get(JOURNAL[0]) for engine in (source, dest))
    is_same = one is not None and other is not None and one.identity == other.identity
    return is_same and source.vendor == dest.vendor and source.is_same_database(dest)


def refuse_hidden(source: Engine, dest: Engine, tables: Sequence[Table], *, reads_values: bool) -> list[Finding]:
    """Return what is to be noted of a comparison.

    Raises :exc:`Refused` where a session does not see all that is to be compared: what is hidden on both sides would
    seem equal.
    """
    findings = []
    if holds_unfinished_run(source):
        findings.append(Finding(source.alias, UNFINISHED, END_IT_FIRST.format(alias=source.alias)))
    if holds_unfinished_run(dest):
        findings.append(Finding(dest.alias, UNFINISHED, END_IT_FIRST.format(alias=dest.alias), stops=False))
    for engine, consulted in ((source, set(referred(tables)) & set(consulted_tables())), (dest, referred(tables))):
        sight = look(engine, tables, *consulted)
        findings += check_source(engine, sight, tables if reads_values else ())
        findings += notes(engine, sight, tables)
        findings += _several_schemas(engine, sight, tables)
    if stopping := [finding for finding in findings if finding.stops]:
        raise Refused(f"Nothing was compared. {' '.join(map(str, stopping))}")
    return findings


def notes(engine: Engine, sight: Sight, tables: Sequence[Table]) -> Iterator[Finding]:
    """Note the tables whose queries give other rows than a table's own."""
    seen = {table.name: sight[table.name] for table in tables if table.name in sight}
    for kind, text in LEFT_OUT.items():
        if names := [shown_name(name) for name, one in seen.items() if one.kind == kind]:
            yield Finding(engine.alias, f"{text}: {shortened(names, SHOWN)}", "", stops=False)
    if inherited := [f"{shown_name(name)} ({_rows_of(one.children)})" for name, one in seen.items() if one.children]:
        yield Finding(
            engine.alias,
            "rows of child tables (INHERITS) are read as rows of their parent, without the columns that only the child "
            f"has: {shortened(inherited, SHOWN)}",
            "",
            stops=False,
        )


def _rows_of(children: Sequence[Child]) -> str:
    return ", ".join(f"{child.name}: {plural(child.rows, 'row')}" for child in children[:SHOWN])


def _several_schemas(engine: Engine, sight: Sight, tables: Sequence[Table]) -> Iterator[Finding]:
    by_schema: dict[str, list[str]] = {}
    for table in tables:
        if table.name in sight and (schema := sight[table.name].schema) is not None:
            by_schema.setdefault(schema, []).append(shown_name(table.name).rpartition(".")[2])
    if len(by_schema) > 1:
        fewest_first = sorted(by_schema.items(), key=lambda item: len(item[1]))
        listed = [f"{schema} ({shortened(names, SHOWN)})" for schema, names in fewest_first]
        text = f"its tables are in {len(by_schema)} schemas: {shortened(listed, SHOWN)}"
        yield Finding(engine.alias, text, "", stops=False)


def check_source(engine: Engine, sight: Sight, tables: Sequence[Table]) -> Iterator[Finding]:
    """Find what keeps rows or columns of a source from being read."""
    yield from _temporary(engine, sight)
    yield from _hidden_rows(engine, sight)
    yield from _without_right(engine, sight, tables)


def check_dest(engine: Engine, sight: Sight, tables: Sequence[Table]) -> Iterator[Finding]:
    """Find what keeps rows of a destination from being seen, and columns there from being written."""
    yield from _temporary(engine, sight)
    yield from _hidden_rows(engine, sight)
    yield from _uncountable(engine, sight)
    lacking = {
        table.name: [column.name for column in table.columns if column.name in sight[table.name].unwritable]
        for table in tables
        if table.name in sight and sight[table.name].takes_rows
    }
    if any(lacking.values()):
        yield Finding(
            engine.alias,
            f"user {engine.visibility.user()!r} may not insert into {_places(lacking)}",
            "Connect as the owner of the tables, or grant INSERT on them.",
        )


def check_loading(
    endpoints: Endpoints, sights: Sights, rows: Mapping[str, tuple[int, int]], *, adds_rows: bool, updates: bool
) -> Iterator[Finding]:
    """Find what in the destination cannot be loaded, and whose rows would go with those of other tables.

    ``rows`` has the source's and the destination's by table name; ``adds_rows`` and ``updates`` empty no table.
    """
    dest, alias = sights.dest, endpoints.dest.alias
    coming = {dest[name].identity for name, (source_rows, _) in rows.items() if source_rows and name in dest}
    for name, (source_rows, dest_rows) in rows.items():
        seen = dest.get(name)
        if seen is None:
            continue
        is_emptied = dest_rows > 0 and not (adds_rows or updates)
        if seen.kind in (VIEW, STORED_VIEW) and ((source_rows and not seen.takes_rows) or is_emptied):
            yield Finding(
                alias,
                f"{shown_name(name)} is a {seen.kind} there, which cannot be emptied and loaded as a table can",
                "Leave the model out with --exclude.",
                stops=not updates,
            )
        if seen.delete_rules and dest_rows and not adds_rows:
            statements = [
                f"ALTER TABLE {endpoints.dest.identifier(name)} DISABLE RULE {rule}" for rule in seen.delete_rules
            ]
            yield Finding(
                alias,
                f"rules there run in place of deletions of rows of {shown_name(name)}, or along with them: "
                f"{shortened(seen.delete_rules, SHOWN)}",
                f"Disable them during the run: {'; '.join(statements)}.",
            )
        in_the_way = [child for child in seen.children if child.identity in coming or (child.rows and not adds_rows)]
        if in_the_way:
            yield Finding(
                alias,
                f"rows of child tables (INHERITS) are rows of {shown_name(name)} there, too: {_rows_of(in_the_way)}",
                f"Detach them there (ALTER TABLE {in_the_way[0].name} NO INHERIT {shown_name(name)}), or empty them "
                "and leave their models out.",
            )
    if not updates and (triggers := endpoints.dest.visibility.schema_change_triggers()):
        yield Finding(
            alias,
            "event triggers there run when indexes and keys are dropped and created again, and can prevent it: "
            f"{shortened(triggers, SHOWN)}",
            "If they do, disable them during the run (ALTER EVENT TRIGGER … DISABLE).",
            stops=False,
        )


def readable(selection: Selection, sights: Sights) -> Selection:
    """Return a selection without the tables that cannot be read whole."""
    tables = [
        table
        for table in selection.tables
        if not any(_is_hidden(sight.get(table.name), table) for sight in (sights.source, sights.dest))
    ]
    return selection if len(tables) == len(selection.tables) else replace(selection, tables=tuple(tables))


def _is_hidden(seen: VisibleTable | None, table: Table) -> bool:
    if seen is None:
        return False
    names = {column.name for column in table.columns}
    return seen.is_temporary or seen.hides_rows or not seen.can_be_counted or bool(seen.unreadable & names)


def _hidden_rows(engine: Engine, sight: Sight) -> Iterator[Finding]:
    if hidden := [shown_name(name) for name, seen in sight.items() if seen.hides_rows]:
        yield Finding(
            engine.alias,
            f"row-level security may hide rows from user {engine.visibility.user()!r} in "
            f"{plural(len(hidden), 'table')}: {shortened(hidden, SHOWN)}",
            "Connect as a superuser or as a role with BYPASSRLS, or as the owner of the tables, after ALTER TABLE … NO "
            "FORCE ROW LEVEL SECURITY if their policies are forced.",
        )


def _temporary(engine: Engine, sight: Sight) -> Iterator[Finding]:
    if names := [shown_name(name) for name, seen in sight.items() if seen.is_temporary]:
        yield Finding(
            engine.alias,
            f"temporary tables or views of this connection hide {plural(len(names), 'table')}: "
            f"{shortened(names, SHOWN)}",
            "Connect without making them (init_command in its OPTIONS, signals of Django's connections), or drop them.",
        )


def _uncountable(engine: Engine, sight: Sight) -> Iterator[Finding]:
    if unseen := [shown_name(name) for name, seen in sight.items() if not seen.can_be_counted]:
        yield Finding(
            engine.alias,
            f"user {engine.visibility.user()!r} may not read {plural(len(unseen), 'table')}: "
            f"{shortened(unseen, SHOWN)}",
            "Connect as the owner of the tables, or grant SELECT on them.",
        )


def _without_right(engine: Engine, sight: Sight, tables: Sequence[Table]) -> Iterator[Finding]:
    yield from _uncountable(engine, sight)
    lacking = {
        table.name: [column.name for column in table.columns if column.name in sight[table.name].unreadable]
        for table in tables
        if table.name in sight and sight[table.name].can_be_counted
    }
    if any(lacking.values()):
        yield Finding(
            engine.alias,
            f"user {engine.visibility.user()!r} may not read {_places(lacking)}",
            "Connect as the owner of the tables, or grant SELECT on them.",
        )


def _places(columns: Mapping[str, Sequence[str]]) -> str:
    places = [f"{shown_name(table)} ({shortened(names, SHOWN)})" for table, names in columns.items() if names]
    return f"columns of {plural(len(places), 'table')}: {shortened(places, SHOWN)}"
