"""Every question that can be asked before the first write, so that a run does not fail after hours."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from django.apps import apps

from ...console.wording import shortened
from ...errors import Refused
from ..chunks import Restriction
from ..endpoints import Endpoints
from ..engines.base.engine import Engine
from ..findings import Finding
from ..tables import Table
from .constraints import ask_about_constraints
from .deferred_objects import to_defer
from .foreign_keys import Orphans, find_orphans, orphan_rows, outside_references
from .hidden_rows import check_loading, check_visibility, readable, visible_in_both
from .index_entries import check_entries
from .letter_case import becomes_case_sensitive, unique_fields_becoming_case_sensitive
from .natural_keys import Mappings, id_mappings, made_by_migrate
from .parallel_queries import ParallelQueries
from .parent_rows import check_added, check_parents
from .pending_tables import announcement, awaited_names, awaited_tables, with_makers
from .plan import AwaitedTable, Plan, TablePlan, stored_tables, table_plans
from .rejection_forecast import work_out_rejection
from .rows_of_migrations import NOT_MIGRATED, NOTHING_MADE, Made, Migrated
from .schema import Pending, StoredTables, check_columns, check_migrations, pending, tables_without_model
from .selection import Selection
from .triggers import Triggers, look_at_triggers
from .unmovable_columns import check_unmovable
from .values import Answer, check_values


def make_plan(
    endpoints: Endpoints,
    selection: Selection,
    *,
    keeps_indexes: bool = False,
    keeps_triggers: bool = False,
    adds_rows: bool = False,
    restrictions: Mapping[str, Restriction | None] | None = None,
    is_whole: bool = True,
    is_resumed: bool = False,
    will_migrate: bool = False,
    skips_rows: bool = False,
    checks_contents: bool = True,
    updates: bool = False,
    made: Made = NOTHING_MADE,
    migrated: Migrated = NOT_MIGRATED,
    lacks_handlers: bool = False,
) -> Plan:
    """Look at both databases and describe what a run would do and what stands in its way.

    ``keeps_triggers``: triggers fire; ``adds_rows``: the destination keeps its rows; ``restrictions``: the chosen rows,
    by table; ``is_resumed``: the rows in the destination are the run's own; ``will_migrate``: the destination's tables
    will be created first; ``skips_rows``: rows that cannot be stored are set aside; ``checks_contents``: whether rows
    are looked at; ``updates``: only what differs will be written; ``made``: the rows that migrations are known to have
    made; ``migrated``: what this command has migrated already; ``lacks_handlers``: ``post_migrate`` handlers have yet
    to run there.
    """
    restrictions = restrictions or {}
    source_has, dest_has = stored_tables(endpoints, selection.tables)
    coming = pending(endpoints.dest.connection) if will_migrate else Pending()
    waiting = awaited_names(selection.tables, dest_has, coming)
    findings = list(
        _check_schema(
            endpoints, selection.tables, source_has, dest_has, coming, waiting, made, can_migrate=not adds_rows
        )
    )
    findings += migrated.notes
    if will_migrate and lacks_handlers and not coming:
        text = "post_migrate handlers will run first: after its last migration one of them failed"
        findings.append(Finding(endpoints.dest.alias, text, "", stops=False))
    findings += [endpoints.fewer_jobs] if endpoints.fewer_jobs else []
    sights = visible_in_both(endpoints, selection.tables)
    hiding = list(check_visibility(endpoints, sights, selection.tables))
    findings += hiding
    selection = readable(selection, sights)
    awaited = awaited_tables(endpoints, selection.tables, source_has, dest_has, waiting, made)
    is_blocked = any(finding.stops for finding in hiding)
    mappings = (
        {} if is_blocked else id_mappings(endpoints.source, endpoints.dest, {table.name for table in selection.tables})
    )
    groups = table_plans(
        endpoints,
        selection,
        source_has,
        dest_has,
        restrictions,
        mappings,
        adds_rows=adds_rows,
        awaited=waiting,
        silences_triggers=adds_rows and not keeps_triggers,
    )
    groups = with_makers(groups, made, endpoints.dest)
    tables = [table for group in groups for table in group]
    if checks_contents:
        rows = {table.table.name: (table.source_rows, table.dest_rows) for table in tables}
        findings += check_loading(endpoints, sights, rows, adds_rows=adds_rows or is_resumed, updates=updates)
    if checks_contents and not any(finding.stops for finding in findings):
        findings += _check_surroundings(endpoints, tables, source_has, dest_has)
        is_whole_copied = not (is_resumed or adds_rows)
        is_added = adds_rows and not is_resumed
        contents = _look_at_contents(
            endpoints, tables, source_has, dest_has, with_references=is_whole_copied, adds_rows=is_added
        )
        groups = tuple(tuple(t.by(contents.values[t.table.name].transport) for t in group) for group in groups)
        findings += contents.findings()
        findings += () if is_resumed else check_entries(endpoints, tables, source_has)
        findings += check_unmovable(tables, endpoints.source, endpoints.dest, source_has)
        if updates:
            findings += _check_updates(endpoints, tables)
        if adds_rows and not is_resumed:
            findings += check_added(endpoints, tables, mappings)
        elif not is_resumed:
            fate = "rewritten" if updates else "emptied"
            findings += _check_whole(endpoints, tables, awaited, mappings, contents.dangling, fate)
    rejection = None
    if skips_rows and not is_resumed and all(finding.is_about_rows for finding in findings if finding.stops):
        causes = [finding for finding in findings if finding.stops]
        rejection = work_out_rejection(endpoints.source, endpoints.dest, tables, causes, adds_rows=adds_rows)
    taken_off = (
        ()
        if adds_rows or updates
        else to_defer(
            endpoints,
            tables,
            dest_has,
            keeps_indexes=keeps_indexes,
            keeps_triggers=keeps_triggers,
            skips_rows=skips_rows,
        )
    )
    triggers = Triggers()
    if checks_contents:
        names = [table.table.name for table in tables]
        silences = (adds_rows or updates) and not keeps_triggers
        triggers = look_at_triggers(endpoints.dest, names, taken_off, silences=silences, keeps=keeps_triggers)
        findings += triggers.findings
    return Plan(
        endpoints.source.describe(),
        endpoints.dest.describe(),
        groups,
        selection.left_out,
        tuple(tables_without_model(endpoints.source, _known_tables(endpoints.source))) if is_whole else (),
        taken_off,
        tuple(findings),
        adds_rows,
        keeps_indexes,
        awaited,
        is_resumed,
        skips_rows,
        updates,
        endpoints.jobs,
        triggers.firing,
        *sights.schemas(selection.tables),
        migrated.what,
        rejection.rows if rejection else {},
        rejection is None or rejection.is_complete,
    )


def _known_tables(source: Engine) -> set[str]:
    names = {model._meta.db_table for model in apps.get_models(include_auto_created=True)}
    names |= {source.stored_name(name) for name in names}
    return names | {name.rpartition('"."')[2] for name in names}


def _check_schema(
    endpoints: Endpoints,
    tables: tuple[Table, ...],
    source_has: StoredTables,
    dest_has: StoredTables,
    coming: Pending,
    awaited: Collection[str],
    made: Made,
    *,
    can_migrate: bool,
) -> Iterator[Finding]:
    labels = {table.model._meta.app_label for table in tables}
    if reason := endpoints.dest.why_read_only():
        yield Finding(endpoints.dest.alias, reason, "Choose a database that can be written.")
    for engine in (endpoints.source, endpoints.dest):
        if link := engine.why_unprotected():
            text = f"whoever is on the way there can read or change rows: {link[0]}"
            yield Finding(engine.alias, text, link[1], stops=False)
    if coming:
        yield announcement(endpoints.dest, coming, made)
    yield from check_migrations(
        endpoints.source, endpoints.dest, labels, will_migrate=bool(coming), can_migrate=can_migrate
    )
    is_any_missing = any(not dest_has[table.name] for table in tables)
    creatable = pending(endpoints.dest.connection) if can_migrate and is_any_missing else None
    yield from check_columns(
        tables, endpoints.source, endpoints.dest, source_has, dest_has, awaited, creatable=creatable
    )


def _check_surroundings(
    endpoints: Endpoints, tables: list[TablePlan], source_has: StoredTables, dest_has: StoredTables
) -> Iterator[Finding]:
    if endpoints.source.snapshot_note:
        yield Finding(endpoints.source.alias, endpoints.source.snapshot_note, "", stops=False)
    if endpoints.dest.loading_note:
        yield Finding(endpoints.dest.alias, endpoints.dest.loading_note, "", stops=False)
    names = [table.table.name for table in tables]
    apart = [
        unique_fields_becoming_case_sensitive(t.table, source_has[n], dest_has[n])
        for t, n in zip(tables, names, strict=True)
    ]
    if told := [name for of_table in apart for name in of_table]:
        yield Finding(
            endpoints.dest.alias,
            f"it tells texts apart by their case, which {endpoints.source.alias!r} does not: {shortened(told)}",
            "A login that is typed otherwise is found no more, and one like it can be added. Look such fields up by "
            "iexact, or give them a db_collation that ignores case.",
            stops=False,
        )


@dataclass(frozen=True)
class _Contents:
    """What the source's rows told, by table name in the order of the plan."""

    values: Mapping[str, Answer]
    constraints: Mapping[str, Sequence[Finding]]
    dangling: Sequence[Orphans]

    def findings(self) -> Iterator[Finding]:
        for table, answer in self.values.items():
            yield from answer.findings
            yield from self.constraints.get(table, ())


def _look_at_contents(
    endpoints: Endpoints,
    tables: list[TablePlan],
    source_has: StoredTables,
    dest_has: StoredTables,
    *,
    with_references: bool,
    adds_rows: bool,
) -> _Contents:
    """Look at the rows of the source, in two sessions where that can be."""
    rows = {planned.table.name: planned.source_rows for planned in tables}

    with ParallelQueries(endpoints.source, max(rows.values(), default=0)) as source:
        values = {t.table.name: check_values(source, t.route, source_has[t.table.name], t.source_rows) for t in tables}
        constraints = ask_about_constraints(source, endpoints, tables, source_has, dest_has, adds_rows=adds_rows)
        referring = [t.table for t in tables if t.source_rows] if with_references else []
        exactly = {
            (table.name, reference.column)
            for table in referring
            for reference in table.references
            if becomes_case_sensitive(table.column(reference.column), source_has[table.name], dest_has[table.name])
        }
        dangling = find_orphans(source, referring, rows, exactly=exactly)
        return _Contents(
            {name: answer.result() for name, answer in values.items()},
            {name: answer.result() for name, answer in constraints.items()},
            dangling.result(),
        )


def _check_whole(
    endpoints: Endpoints,
    tables: list[TablePlan],
    awaited: Sequence[AwaitedTable],
    mappings: Mappings,
    dangling: Sequence[Orphans],
    fate: str,
) -> Iterator[Finding]:
    """Check a move in which the destination's tables hold the source's rows and no others afterwards."""
    every: list[TablePlan | AwaitedTable] = [*tables, *awaited]
    source_rows = sum(t.source_rows for t in every if not made_by_migrate(endpoints.source, t.table, t.source_rows))
    others = [t for t in every if not (t.is_made_by_migrate or t.is_made_by_migrations)]
    dest_rows = sum(table.dest_rows or 0 for table in others)
    if dest_rows and not source_rows:
        yield Finding(
            endpoints.source.alias,
            f"the source is empty and the destination holds {dest_rows:,} rows",
            "Did you swap --source and --dest?",
        )
    for orphans in dangling:
        yield Finding(
            orphans.table.label,
            str(orphans),
            "Delete or correct these rows in the source; the destination's foreign keys would refuse them.",
            is_about_rows=True,
            rows=orphan_rows(orphans),
        )
    if unowned := endpoints.dest.catalogue.tables_not_owned([table.table.name for table in tables]):
        yield Finding(
            endpoints.dest.alias,
            f"this user does not own {shortened(unowned)}, so foreign keys there cannot be taken off and put back",
            "Connect as the role that owns the tables, or make this one a member of it.",
        )
    yield from check_parents(endpoints, tables, mappings, {waiting.table.name for waiting in awaited})
    emptied = [table.table for table in every if table.dest_rows]
    for outside in outside_references(endpoints.dest, emptied) if emptied else ():
        yield Finding(
            endpoints.dest.alias,
            f"{outside} is not part of this run and points into tables that would be {fate}",
            "Select it as well, or empty it yourself: its rows would lose what they point at, or go with it.",
        )


def _check_updates(endpoints: Endpoints, tables: list[TablePlan]) -> Iterator[Finding]:
    """Check that single rows can be found, and be deleted and inserted again without others going with them."""
    for table in tables:
        if not table.table.key:
            yield Finding(
                table.table.label,
                "it has no primary key to find its rows by",
                "Leave it out with --exclude, and move it by a run without --update.",
            )
    if cascading := endpoints.dest.catalogue.cascading([table.table.name for table in tables]):
        yield Finding(
            endpoints.dest.alias,
            f"foreign keys there change or delete rows by themselves when their parents go: {shortened(cascading)}",
            "A parent that is rewritten would take its children along. Move these tables by a run without --update.",
        )


def refuse(plan: Plan) -> None:
    """Raise :exc:`Refused` with everything that keeps the run from starting."""
    stopping = plan.stopping
    if not stopping:
        return
    lines = "\n".join(f"  - {finding}" for finding in stopping)
    hint = ""
    if any(finding.is_about_rows for finding in stopping):
        hint = "\nOr pass --on-error skip --rejects FILE to copy everything else and keep these rows in FILE."
        if plan.updates:
            hint = "\n--update stores every row or none. Or leave these models out with --exclude."
    if plan.is_resumed:
        hint += "\nThe run stays unfinished: pass --resume once this is corrected, or --cleanup to give it up."
    count = "1 finding stops" if len(stopping) == 1 else f"{len(stopping)} findings stop"
    raise Refused(f"{plan.untouched} {count} the run:\n{lines}{hint}")
