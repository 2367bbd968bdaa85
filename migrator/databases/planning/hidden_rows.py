"""Rows and columns that a session can't see in a run's tables, and rows it sees that aren't a table's own.

Hidden rows stop a run: a copy without them would look complete, and so would its verification.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from ...console.wording import plural, shortened
from ...errors import Refused
from ..endpoints import Endpoints
from ..engines.base.engine import Engine
from ..engines.base.visible_tables import FOREIGN_TABLE, STORED_VIEW, VERSIONED_TABLE, VIEW, Child, VisibleTable
from ..findings import Finding
from ..journal.checks import holds_unfinished_run
from ..journal.records import TABLES as JOURNAL
from ..tables import Table, shown_name
from .natural_keys import consulted_tables
from .selection import Selection

SHOWN = 5
END_IT_FIRST = "Complete that run first (--resume in the command that fills {alias!r}), or abandon it (--cleanup)."
UNFINISHED = "it holds an unfinished run: rows, indexes and keys may be missing there"
# What a query leaves out if its table isn't a plain one, by kind of table.
LEFT_OUT: Mapping[str, str] = {
    VIEW: "views: only the rows that they show are read",
    STORED_VIEW: "materialized views: rows are read as of their last refresh",
    FOREIGN_TABLE: "foreign tables: rows are read from another server, as its user sees them, outside of the snapshot",
    VERSIONED_TABLE: "system-versioned tables: only current rows are read, not their history",
}

VisibleTables = Mapping[str, VisibleTable]  # by table name


@dataclass(frozen=True)
class VisibleEndpoints:
    """What the sessions of both databases see of a run's tables, and of those that are consulted for them."""

    source: VisibleTables
    dest: VisibleTables

    def schemas(self, tables: Sequence[Table]) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return the schemas of tables in the source and in the destination, by table name, if they have schemas."""
        source, dest = (
            {table.name: schema for table in tables if table.name in seen and (schema := seen[table.name].schema)}
            for seen in (self.source, self.dest)
        )
        return source, dest


def visible_tables(engine: Engine, tables: Sequence[Table], *more: str) -> VisibleTables:
    """Return what a session sees of tables and of those named ``more``, by name."""
    return engine.visibility.visible_tables(list(dict.fromkeys([*(table.name for table in tables), *more])))


def visible_in_both(endpoints: Endpoints, tables: Sequence[Table]) -> VisibleEndpoints:
    """Return what both sessions of a run see of its tables, and of all that are consulted for them."""
    consulted = [*_parent_tables(tables), *consulted_tables()]
    return VisibleEndpoints(
        visible_tables(endpoints.source, tables, *consulted), visible_tables(endpoints.dest, tables, *consulted)
    )


def _parent_tables(tables: Sequence[Table]) -> list[str]:
    return [ref.target_table for table in tables for ref in table.references if ref.has_constraint]


# -- what is checked of a run, and of a comparison -------------------------------------------------------------------


def check_unfinished(endpoints: Endpoints) -> Iterator[Finding]:
    """Find out whether the source lacks rows because a run into it is unfinished."""
    if holds_unfinished_run(endpoints.source) and not _is_journal_of(endpoints.dest, endpoints.source):
        yield Finding(endpoints.source.alias, UNFINISHED, END_IT_FIRST.format(alias=endpoints.source.alias))


def check_visibility(endpoints: Endpoints, seen: VisibleEndpoints, tables: Sequence[Table]) -> Iterator[Finding]:
    """Find what hides rows or columns in either database, and tables whose queries return more or less than rows."""
    yield from _check_source(endpoints.source, seen.source, tables)
    yield from _check_dest(endpoints.dest, seen.dest, tables)
    yield from _notes(endpoints.source, seen.source, tables)
    yield from _several_schemas(endpoints.source, seen.source, tables)
    yield from _several_schemas(endpoints.dest, seen.dest, tables)


def _is_journal_of(dest: Engine, source: Engine) -> bool:
    """Whether the source sees the destination's own journal, from another schema of the same database."""
    one, other = (engine.visibility.visible_tables(JOURNAL).get(JOURNAL[0]) for engine in (source, dest))
    is_same = one is not None and other is not None and one.identity == other.identity
    return is_same and source.vendor == dest.vendor and source.is_same_database(dest)


def refuse_hidden(source: Engine, dest: Engine, tables: Sequence[Table], *, reads_values: bool) -> list[Finding]:
    """Return the notes on a comparison of two databases.

    Raises :exc:`Refused` if a session can't see everything that is compared: rows hidden on both sides would seem
    equal.
    """
    findings = []
    if holds_unfinished_run(source):
        findings.append(Finding(source.alias, UNFINISHED, END_IT_FIRST.format(alias=source.alias)))
    if holds_unfinished_run(dest):
        findings.append(Finding(dest.alias, UNFINISHED, END_IT_FIRST.format(alias=dest.alias), stops=False))
    parents = _parent_tables(tables)
    for engine, consulted in ((source, set(parents) & set(consulted_tables())), (dest, parents)):
        seen = visible_tables(engine, tables, *consulted)
        findings += _check_source(engine, seen, tables if reads_values else ())
        findings += _notes(engine, seen, tables)
        findings += _several_schemas(engine, seen, tables)
    if stopping := [finding for finding in findings if finding.stops]:
        raise Refused(f"Nothing was compared. {' '.join(map(str, stopping))}")
    return findings


def readable(selection: Selection, seen: VisibleEndpoints) -> Selection:
    """Return a selection without the tables that can't be read completely."""
    tables = [
        table
        for table in selection.tables
        if not any(_is_hidden(side.get(table.name), table) for side in (seen.source, seen.dest))
    ]
    return selection if len(tables) == len(selection.tables) else replace(selection, tables=tuple(tables))


def _is_hidden(seen: VisibleTable | None, table: Table) -> bool:
    if seen is None:
        return False
    names = {column.name for column in table.columns}
    return seen.is_temporary or seen.hides_rows or not seen.can_be_counted or bool(seen.unreadable & names)


# -- tables that are read ----------------------------------------------------------------------------------------------


def _notes(engine: Engine, seen: VisibleTables, tables: Sequence[Table]) -> Iterator[Finding]:
    """Note the tables whose queries return rows other than the table's own."""
    present = {table.name: seen[table.name] for table in tables if table.name in seen}
    for kind, text in LEFT_OUT.items():
        if names := [shown_name(name) for name, one in present.items() if one.kind == kind]:
            yield Finding(engine.alias, f"{text}: {shortened(names, SHOWN)}", "", stops=False)
    if inherited := [f"{shown_name(name)} ({_rows_of(one.children)})" for name, one in present.items() if one.children]:
        yield Finding(
            engine.alias,
            "rows of child tables (INHERITS) are read as rows of their parent, without the columns that only the child "
            f"has: {shortened(inherited, SHOWN)}",
            "",
            stops=False,
        )


def _rows_of(children: Sequence[Child]) -> str:
    return ", ".join(f"{child.name}: {plural(child.rows, 'row')}" for child in children[:SHOWN])


def _several_schemas(engine: Engine, seen: VisibleTables, tables: Sequence[Table]) -> Iterator[Finding]:
    by_schema: dict[str, list[str]] = {}
    for table in tables:
        if table.name in seen and (schema := seen[table.name].schema) is not None:
            by_schema.setdefault(schema, []).append(shown_name(table.name).rpartition(".")[2])
    if len(by_schema) > 1:
        fewest_first = sorted(by_schema.items(), key=lambda item: len(item[1]))
        listed = [f"{schema} ({shortened(names, SHOWN)})" for schema, names in fewest_first]
        text = f"its tables are in {len(by_schema)} schemas: {shortened(listed, SHOWN)}"
        yield Finding(engine.alias, text, "", stops=False)


def _check_source(engine: Engine, seen: VisibleTables, tables: Sequence[Table]) -> Iterator[Finding]:
    """Find what prevents rows or columns of a source from being read."""
    yield from _temporary(engine, seen)
    yield from _hidden_rows(engine, seen)
    yield from _uncountable(engine, seen)
    readable_tables = [table for table in tables if table.name in seen and seen[table.name].can_be_counted]
    yield from _without_right(engine, readable_tables, "read", "SELECT", lambda name: seen[name].unreadable)


def _check_dest(engine: Engine, seen: VisibleTables, tables: Sequence[Table]) -> Iterator[Finding]:
    """Find what prevents rows of a destination from being seen, and its columns from being written."""
    yield from _temporary(engine, seen)
    yield from _hidden_rows(engine, seen)
    yield from _uncountable(engine, seen)
    writable_tables = [table for table in tables if table.name in seen and seen[table.name].takes_rows]
    yield from _without_right(engine, writable_tables, "insert into", "INSERT", lambda name: seen[name].unwritable)


def _hidden_rows(engine: Engine, seen: VisibleTables) -> Iterator[Finding]:
    if hidden := [shown_name(name) for name, one in seen.items() if one.hides_rows]:
        yield Finding(
            engine.alias,
            f"row-level security may hide rows from user {engine.visibility.user()!r} in "
            f"{plural(len(hidden), 'table')}: {shortened(hidden, SHOWN)}",
            "Connect as a superuser or as a role with BYPASSRLS, or as the owner of the tables, after ALTER TABLE … NO "
            "FORCE ROW LEVEL SECURITY if their policies are forced.",
        )


def _temporary(engine: Engine, seen: VisibleTables) -> Iterator[Finding]:
    if names := [shown_name(name) for name, one in seen.items() if one.is_temporary]:
        yield Finding(
            engine.alias,
            f"temporary tables or views of this connection hide {plural(len(names), 'table')}: "
            f"{shortened(names, SHOWN)}",
            "Connect without creating them (init_command in its OPTIONS, signals of Django's connections), or drop "
            "them.",
        )


def _uncountable(engine: Engine, seen: VisibleTables) -> Iterator[Finding]:
    if names := [shown_name(name) for name, one in seen.items() if not one.can_be_counted]:
        yield Finding(
            engine.alias,
            f"user {engine.visibility.user()!r} may not read {plural(len(names), 'table')}: {shortened(names, SHOWN)}",
            "Connect as the owner of the tables, or grant SELECT on them.",
        )


def _without_right(
    engine: Engine, tables: Sequence[Table], verb: str, right: str, lacking: Callable[[str], AbstractSet[str]]
) -> Iterator[Finding]:
    """Find columns without a right that the run needs; ``lacking`` returns a table's columns without it."""
    found = {
        table.name: names
        for table in tables
        if (names := [column.name for column in table.columns if column.name in lacking(table.name)])
    }
    if not found:
        return
    listed = [f"{shown_name(table)} ({shortened(names, SHOWN)})" for table, names in found.items()]
    yield Finding(
        engine.alias,
        f"user {engine.visibility.user()!r} may not {verb} columns of {plural(len(listed), 'table')}: "
        f"{shortened(listed, SHOWN)}",
        f"Connect as the owner of the tables, or grant {right} on them.",
    )


# -- tables that are loaded ------------------------------------------------------------------------------------------


def check_loading(
    endpoints: Endpoints, seen: VisibleEndpoints, rows: Mapping[str, tuple[int, int]], *, adds_rows: bool, updates: bool
) -> Iterator[Finding]:
    """Find tables of the destination that can't be loaded or emptied, or that share rows with other tables.

    ``rows``: the source's and the destination's row counts by table name. With ``adds_rows`` or ``updates`` no table
    is emptied.
    """
    dest = seen.dest
    loaded = {dest[name].identity for name, (source_rows, _) in rows.items() if source_rows and name in dest}
    for name, (source_rows, dest_rows) in rows.items():
        if name not in dest:
            continue
        is_emptied = dest_rows > 0 and not (adds_rows or updates)
        if (source_rows and not dest[name].takes_rows) or is_emptied:
            yield from _view(endpoints.dest, name, dest[name], stops=not updates)
        if dest_rows and not adds_rows:
            yield from _delete_rules(endpoints.dest, name, dest[name])
        children = [one for one in dest[name].children if one.identity in loaded or (one.rows and not adds_rows)]
        yield from _child_tables(endpoints.dest, name, children)
    yield from _stored_views(endpoints.dest, [name for name, counts in rows.items() if any(counts)])
    if not updates:
        yield from _event_triggers(endpoints.dest)


def _view(dest: Engine, name: str, seen: VisibleTable, *, stops: bool) -> Iterator[Finding]:
    if seen.kind in (VIEW, STORED_VIEW):
        yield Finding(
            dest.alias,
            f"{shown_name(name)} is a {seen.kind} there, which can't be emptied and loaded like a table",
            "Leave the model out with --exclude.",
            stops=stops,
        )


def _delete_rules(dest: Engine, name: str, seen: VisibleTable) -> Iterator[Finding]:
    if seen.delete_rules:
        statements = [f"ALTER TABLE {dest.identifier(name)} DISABLE RULE {rule}" for rule in seen.delete_rules]
        yield Finding(
            dest.alias,
            f"rules there run instead of deletions of rows of {shown_name(name)}, or in addition to them: "
            f"{shortened(seen.delete_rules, SHOWN)}",
            f"Disable them during the run: {'; '.join(statements)}.",
        )


def _child_tables(dest: Engine, name: str, children: Sequence[Child]) -> Iterator[Finding]:
    if children:
        yield Finding(
            dest.alias,
            f"rows of child tables (INHERITS) are rows of {shown_name(name)} there, too: {_rows_of(children)}",
            f"Detach them there (ALTER TABLE {children[0].name} NO INHERIT {shown_name(name)}), or empty them and "
            "leave their models out.",
        )


def _stored_views(dest: Engine, changed: Sequence[str]) -> Iterator[Finding]:
    if views := dest.visibility.stored_views(changed):
        yield Finding(
            dest.alias,
            f"the run does not refresh {plural(len(views), 'materialized view')} over its tables: "
            f"{shortened(views, SHOWN)}",
            f"Do that after the run: {'; '.join(f'REFRESH MATERIALIZED VIEW {view}' for view in views)}.",
            stops=False,
        )


def _event_triggers(dest: Engine) -> Iterator[Finding]:
    if triggers := dest.visibility.schema_change_triggers():
        yield Finding(
            dest.alias,
            "event triggers there run when indexes and keys are dropped and recreated, and can prevent it: "
            f"{shortened(triggers, SHOWN)}",
            "If they do, disable them during the run (ALTER EVENT TRIGGER … DISABLE).",
            stops=False,
        )
