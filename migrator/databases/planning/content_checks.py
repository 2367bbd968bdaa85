"""What the source's rows are checked for before the first write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...conf import DEFAULT_CHUNK_SIZE
from ...console.wording import plural, shortened
from ..findings import Finding
from ..tables import Table
from .checks import Check, Findings
from .column_limits import Answer, check_values
from .constraints import ask_about_constraints
from .draft_plan import Draft
from .foreign_keys import Orphans, find_orphans, orphan_rows, outside_references
from .index_entries import check_entries
from .letter_case import becomes_case_sensitive, unique_fields_becoming_case_sensitive
from .natural_keys import made_by_migrate
from .parallel_queries import ParallelQueries
from .parent_rows import check_added, check_parents
from .plan import AwaitedTable, TablePlan
from .unmovable_columns import check_unmovable


@dataclass(frozen=True)
class _Contents:
    """What was found in the source's rows, by table name in the order of the plan."""

    values: Mapping[str, Answer]
    constraints: Mapping[str, Sequence[Finding]]
    orphans: Sequence[Orphans]

    def report(self, found: Findings) -> None:
        """Add the findings, table by table."""
        found.add(Check.VALUES)
        found.add(Check.CONSTRAINTS)
        for table, answer in self.values.items():
            found.add(Check.VALUES, answer.findings)
            found.add(Check.CONSTRAINTS, self.constraints.get(table, ()))


def check_contents(draft: Draft, found: Findings) -> tuple[tuple[TablePlan, ...], ...]:
    """Check the source's rows; return the groups with transports that are right for these rows."""
    _check_surroundings(draft, found)
    contents = _query_contents(draft)
    contents.report(found)
    _check_for_mode(draft, contents, found)
    return tuple(
        tuple(planned.with_transport(contents.values[planned.table.name].transport) for planned in group)
        for group in draft.groups
    )


def _check_surroundings(draft: Draft, found: Findings) -> None:
    source, dest = draft.endpoints.source, draft.endpoints.dest
    for check, engine, note in (
        (Check.SNAPSHOT, source, source.snapshot_note),
        (Check.BULK_LOADING, dest, dest.loading_note),
    ):
        found.add(check, [Finding(engine.alias, note, "", stops=False)] if note else [])
    found.add(Check.KEYS, _check_keys(draft))
    found.add(Check.COLLATIONS, _check_collations(draft))


def _check_keys(draft: Draft) -> Iterator[Finding]:
    """Find large tables that are read as a whole, because their rows cannot be found by their keys."""
    source, updates = draft.endpoints.source, draft.request.updates
    large = [] if updates else [one.table for one in draft.tables if one.source_rows > DEFAULT_CHUNK_SIZE]
    for table in large:
        key = table.key
        if key and not source.catalogue.is_indexed(table.name, key[0]):
            yield Finding(
                table.label,
                f"{key[0]} has no index in {source.alias!r}, so all rows are copied in one transaction",
                f"An interrupted run copies them again. To avoid that, create a unique index on {', '.join(key)}.",
                stops=False,
            )


def _check_collations(draft: Draft) -> Iterator[Finding]:
    source, dest, schemas = draft.endpoints.source, draft.endpoints.dest, draft.schemas
    sensitive = [
        name
        for planned in draft.tables
        for name in unique_fields_becoming_case_sensitive(
            planned.table, schemas.source[planned.table.name], schemas.dest[planned.table.name]
        )
    ]
    if sensitive:
        yield Finding(
            dest.alias,
            f"its collations are case-sensitive and those of {source.alias!r} are not: {shortened(sensitive)}",
            "Logins typed in another case no longer match, and values that differ only in case can be added. Look such "
            "fields up with iexact, or give them a case-insensitive db_collation.",
            stops=False,
        )


def _query_contents(draft: Draft) -> _Contents:
    """Query the source's rows, in two sessions if possible, or in as many as processes will copy."""
    endpoints, request, tables = draft.endpoints, draft.request, draft.tables
    rows = {planned.table.name: planned.source_rows for planned in tables}
    sessions = max(2, endpoints.jobs)
    with ParallelQueries(endpoints.source, max(rows.values(), default=0), sessions) as source:
        values = {t.table.name: check_values(source, t.route, t.route.stored, t.source_rows) for t in tables}
        adds_rows = request.adds_rows and not request.is_resumed
        constraints = ask_about_constraints(source, endpoints, tables, adds_rows=adds_rows)
        is_whole_copied = not (request.is_resumed or request.adds_rows)
        referring = [t.table for t in tables if t.source_rows] if is_whole_copied else []
        orphans = find_orphans(source, referring, rows, exactly=_case_sensitive_references(draft, referring))
        return _Contents(
            {name: future.result() for name, future in values.items()},
            {name: future.result() for name, future in constraints.items()},
            orphans.result(),
        )


def _case_sensitive_references(draft: Draft, tables: Sequence[Table]) -> set[tuple[str, str]]:
    """Return the foreign keys, as table and column, that match their parents by case in the destination alone."""
    source_has, dest_has = draft.schemas.source, draft.schemas.dest
    return {
        (table.name, reference.column)
        for table in tables
        for reference in table.references
        if becomes_case_sensitive(table.column(reference.column), source_has[table.name], dest_has[table.name])
    }


def _check_for_mode(draft: Draft, contents: _Contents, found: Findings) -> None:
    endpoints, request, tables = draft.endpoints, draft.request, draft.tables
    if not request.is_resumed:
        found.add(Check.ENTRIES, check_entries(endpoints, tables))
    found.add(Check.UNMOVABLE, check_unmovable(tables, endpoints.source, endpoints.dest))
    if request.updates:
        found.add(Check.UPDATABLE, _check_updates(draft))
    if request.is_resumed:
        return
    if request.adds_rows:
        found.add(Check.ADDED, check_added(endpoints, tables, draft.mappings))
    else:
        _check_whole(draft, contents.orphans, found)


def _check_updates(draft: Draft) -> Iterator[Finding]:
    """Check that each row has a key, and that rows can be deleted and inserted again without changing others."""
    for table in draft.tables:
        if not table.table.key:
            yield Finding(
                table.table.label,
                "it has no primary key by which its rows can be found",
                "Leave it out with --exclude, and copy it in a run without --update.",
            )
    dest = draft.endpoints.dest
    cascading = dest.catalogue.cascading([table.table.name for table in draft.tables])
    if kept := [name for name, key in cascading.items() if key is None]:
        yield Finding(
            dest.alias,
            "foreign keys there change or delete rows when their parents are deleted, and this user cannot drop and "
            f"recreate them: {shortened(kept)}",
            "Rewriting a parent would change or delete its children. Connect as the role that owns these tables, or "
            "copy them in a run without --update.",
        )
    if dropped := [name for name, key in cascading.items() if key]:
        yield Finding(
            dest.alias,
            "foreign keys there change or delete rows when their parents are deleted. If parents are rewritten or "
            f"deleted, these keys are dropped and recreated in the same transaction: {shortened(dropped)}",
            "Until it ends, all other sessions wait to read or write these tables and their parents.",
            stops=False,
        )


def _check_whole(draft: Draft, orphans: Sequence[Orphans], found: Findings) -> None:
    """Check a run after which the destination's tables hold exactly the source's rows."""
    endpoints, tables = draft.endpoints, draft.tables
    every: list[TablePlan | AwaitedTable] = [*tables, *draft.awaited]
    awaited = {waiting.table.name for waiting in draft.awaited}
    found.add(Check.DIRECTION, _check_direction(draft, every))
    found.add(Check.ORPHANS, map(_orphans, orphans))
    found.add(Check.OWNERSHIP, _check_ownership(draft))
    found.add(Check.PARENTS, check_parents(endpoints, tables, draft.mappings, awaited))
    found.add(Check.OUTSIDE, _check_outside(draft, every))


def _orphans(orphans: Orphans) -> Finding:
    return Finding(
        orphans.table.label,
        str(orphans),
        "Delete or correct these rows in the source: the destination's foreign keys would reject them.",
        is_about_rows=True,
        rows=orphan_rows(orphans),
    )


def _check_ownership(draft: Draft) -> Iterator[Finding]:
    endpoints, tables = draft.endpoints, draft.tables
    if unowned := endpoints.dest.catalogue.tables_not_owned([table.table.name for table in tables]):
        yield Finding(
            endpoints.dest.alias,
            f"this user does not own {shortened(unowned)}, so foreign keys there cannot be dropped and recreated",
            "Connect as the role that owns the tables, or make this role a member of it.",
        )


def _check_outside(draft: Draft, every: Sequence[TablePlan | AwaitedTable]) -> Iterator[Finding]:
    endpoints = draft.endpoints
    emptied = [table.table for table in every if table.dest_rows]
    fate = "rewritten" if draft.request.updates else "emptied"
    for outside in outside_references(endpoints.dest, emptied) if emptied else ():
        yield Finding(
            endpoints.dest.alias,
            f"{outside} is not part of this run and references tables that would be {fate}",
            "Select it as well, or empty it yourself: its rows would lose their parents, or be deleted with them.",
        )


def _check_direction(draft: Draft, every: Sequence[TablePlan | AwaitedTable]) -> Iterator[Finding]:
    """Check that the run does not replace rows with an empty source."""
    source = draft.endpoints.source
    source_rows = sum(t.source_rows for t in every if not made_by_migrate(source, t.table, t.source_rows))
    others = [t for t in every if not (t.is_made_by_migrate or t.is_made_by_migrations)]
    dest_rows = sum(table.dest_rows or 0 for table in others)
    if dest_rows and not source_rows:
        yield Finding(
            source.alias,
            f"the source is empty, and the destination holds {plural(dest_rows, 'row')}",
            "Did you swap --source and --dest?",
        )
