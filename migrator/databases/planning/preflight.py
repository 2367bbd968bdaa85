"""Everything that is checked before the first write, so that a run does not fail after hours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from django.apps import apps

from ...console.wording import byte_text
from ...errors import Reason, Refused
from ..endpoints import Endpoints
from ..engines.base.catalogue import DeferredObject
from ..engines.base.engine import Engine
from ..findings import Cause, Finding
from ..tables import Table
from .checks import Check, Findings
from .column_types import check_types
from .content_checks import check_contents
from .deferred_objects import to_defer
from .draft_plan import Draft, Schemas, make_draft, read_schemas
from .estimate import estimate_run, sizes_of
from .hidden_rows import VisibleEndpoints, check_loading, check_unfinished, check_visibility, readable, visible_in_both
from .pending_migrations import check_migrations, pending
from .pending_tables import announcement
from .plan import AwaitedTable, Estimate, Plan, TablePlan
from .plan_request import PlanRequest
from .rejection_forecast import Rejection, forecast_rejection
from .schema import check_columns, tables_without_model
from .selection import Selection
from .triggers import Triggers, check_triggers


def make_plan(endpoints: Endpoints, selection: Selection, request: PlanRequest) -> Plan:
    """Examine both databases; return what the run would do, and the findings about it."""
    schemas = read_schemas(endpoints, selection.tables, request)
    found = Findings()
    found.add(Check.CONNECTED)  # they would not be open otherwise
    _check_schemas(endpoints, selection.tables, schemas, request, found)
    visible = visible_in_both(endpoints, selection.tables)
    hiding = found.add(Check.UNFINISHED, check_unfinished(endpoints))
    hiding += found.add(Check.VISIBILITY, check_visibility(endpoints, visible, selection.tables))
    selection = readable(selection, visible)
    maps_ids = not any(finding.stops for finding in hiding)
    draft = make_draft(endpoints, selection.tables, request, schemas, maps_ids=maps_ids)
    groups = draft.groups
    if request.checks_contents:
        found.add(Check.LOADING, _check_loading(draft, visible))
        if not found.stopping:
            groups = check_contents(draft, found)
    rejection = _forecast(draft, found.stopping)
    deferred = _deferred(draft)
    triggers = _triggers(draft, deferred)
    if request.checks_contents:
        found.add(Check.TRIGGERS, triggers.findings)
    source_schemas, dest_schemas = visible.schemas(selection.tables)
    plan = Plan(
        request,
        endpoints.source.describe(),
        endpoints.dest.describe(),
        groups,
        selection.left_out,
        tuple(tables_without_model(endpoints.source, _known_tables(endpoints.source))) if request.is_whole else (),
        deferred,
        tuple(found.found),
        draft.awaited,
        endpoints.jobs,
        triggers.firing,
        source_schemas,
        dest_schemas,
        rejection.rows,
        rejection.is_complete,
        choice=selection.choice,
        migrates=bool(draft.schemas.pending),
    )
    every: list[TablePlan | AwaitedTable] = [] if plan.stopping else [*plan.tables, *plan.awaited]
    plan = replace(plan, sizes=sizes_of(endpoints.source, [one.table for one in every if one.source_rows]))
    estimate = _estimate(plan)
    found.add(Check.SPACE, _check_space(endpoints.dest, estimate))
    return replace(
        plan,
        findings=tuple(found.found),
        estimate=estimate,
        checks=tuple(found.results(request, awaits_tables=bool(plan.awaited))),
    )


def _check_space(dest: Engine, estimate: Estimate | None) -> Iterator[Finding]:
    needed, free = estimate.bytes_at_least if estimate else None, dest.free_bytes()
    if needed is not None and free is not None and free < needed:
        yield Finding(
            dest.alias,
            f"its disk has {byte_text(free)} left, and the rows take at least {byte_text(needed)}, without indexes",
            "Make room, unless the rows that are replaced leave enough.",
            stops=False,
        )


def _estimate(plan: Plan) -> Estimate | None:
    if plan.is_resumed or plan.stopping:
        return None
    return estimate_run(
        [*plan.tables, *plan.awaited],
        plan.row_bytes,
        updates=plan.updates,
        compares_values=plan.request.compares_values,
        jobs=plan.jobs,
    )


def _check_schemas(
    endpoints: Endpoints, tables: Sequence[Table], schemas: Schemas, request: PlanRequest, found: Findings
) -> None:
    """Check whether both databases have the tables, and whether the destination can be written."""
    source, dest = endpoints.source, endpoints.dest
    if reason := dest.why_read_only():
        found.add(Check.WRITABLE, [Finding(dest.alias, reason, "Choose a database that can be written.")])
    else:
        found.add(Check.WRITABLE)
    found.add(Check.ENCRYPTION, _check_encryption((source, dest)))
    found.add(Check.MIGRATIONS, _check_migrations(endpoints, tables, schemas, request))
    is_any_missing = any(not schemas.dest[table.name] for table in tables)
    creatable = pending(dest.connection) if not request.adds_rows and is_any_missing else None
    columns = check_columns(tables, source, dest, schemas.source, schemas.dest, schemas.awaited, creatable=creatable)
    found.add(Check.TABLES, columns)
    settled = [table for table in tables if table.name not in schemas.awaited]
    found.add(Check.TYPES, check_types(settled, source, dest, schemas.source, schemas.dest))
    found.add(Check.MIGRATIONS, _check_handlers(dest, schemas, request))
    if request.follows:
        found.add(Check.FEED, endpoints.feed_obstacles)
    found.add(Check.PROCESSES, [endpoints.fewer_jobs] if endpoints.fewer_jobs else [])
    found.add(Check.PROCESSES, request.worker_findings)


def _check_encryption(engines: Iterable[Engine]) -> Iterator[Finding]:
    for engine in engines:
        if unprotected := engine.why_unprotected():
            text = f"anyone on the network path can read or change rows: {unprotected[0]}"
            yield Finding(engine.alias, text, unprotected[1], stops=False)


def _check_migrations(
    endpoints: Endpoints, tables: Sequence[Table], schemas: Schemas, request: PlanRequest
) -> Iterator[Finding]:
    source, dest, can_migrate = endpoints.source, endpoints.dest, not request.adds_rows
    if schemas.pending:
        yield announcement(dest, schemas.pending, request.made)
    labels = {table.model._meta.app_label for table in tables}
    bare = [
        engine
        for engine, has in ((source, schemas.source), (dest, schemas.dest))
        if len(tables) > 1 and not any(has[table.name] for table in tables)
    ]
    yield from check_migrations(
        source, dest, labels, will_migrate=bool(schemas.pending), can_migrate=can_migrate, bare=bare
    )


def _check_handlers(dest: Engine, schemas: Schemas, request: PlanRequest) -> Iterator[Finding]:
    yield from request.migrated.notes
    if request.will_run_handlers and not schemas.pending:
        text = "the post_migrate handlers will run first, because one of them failed after the last migration"
        yield Finding(dest.alias, text, "", stops=False)


def _check_loading(draft: Draft, visible: VisibleEndpoints) -> Iterator[Finding]:
    request = draft.request
    rows = {planned.table.name: (planned.source_rows, planned.dest_rows) for planned in draft.tables}
    keeps_rows = request.adds_rows or request.is_resumed
    return check_loading(draft.endpoints, visible, rows, adds_rows=keeps_rows, updates=request.updates)


def _forecast(draft: Draft, causes: Sequence[Finding]) -> Rejection:
    """Return how many rows will be rejected, if rows are skipped and nothing else stops the run."""
    endpoints, request = draft.endpoints, draft.request
    if not request.skips_rows or request.is_resumed or not all(finding.is_about_rows for finding in causes):
        return Rejection({}, is_complete=True)
    return forecast_rejection(endpoints.source, endpoints.dest, draft.tables, causes, adds_rows=request.adds_rows)


def _deferred(draft: Draft) -> tuple[DeferredObject, ...]:
    request = draft.request
    if request.adds_rows or request.updates:
        return ()
    return to_defer(
        draft.endpoints,
        draft.tables,
        draft.schemas.dest,
        keeps_indexes=request.keeps_indexes,
        keeps_triggers=request.keeps_triggers,
        skips_rows=request.skips_rows,
    )


def _triggers(draft: Draft, deferred: Sequence[DeferredObject]) -> Triggers:
    request = draft.request
    if not request.checks_contents:
        return Triggers()
    names = [planned.table.name for planned in draft.tables]
    disables = (request.adds_rows or request.updates) and not request.keeps_triggers
    return check_triggers(draft.endpoints.dest, names, deferred, disables=disables, keeps=request.keeps_triggers)


def _known_tables(source: Engine) -> set[str]:
    """Return the names that the tables of the project's models may have in the source's catalogue."""
    names = {model._meta.db_table for model in apps.get_models(include_auto_created=True)}
    names |= {source.stored_name(name) for name in names}
    return names | {name.rpartition('"."')[2] for name in names}


def refuse(plan: Plan) -> None:
    """Raise :exc:`Refused` with all findings that keep the run from starting."""
    stopping = plan.stopping
    if not stopping:
        return
    steps = []
    if any(finding.is_about_rows for finding in stopping):
        step = "Or pass --on-error skip --rejects FILE to copy everything else and keep these rows in FILE."
        if any(finding.rows and finding.rows.cause is Cause.TAKEN for finding in stopping):
            step += " Then rows that refer to a primary key which the destination already has refer to its row."
        if plan.updates:
            step = "--update writes all changes or none. Fix these rows, or leave their models out with --exclude."
        steps.append(step)
    if plan.is_resumed:
        steps.append("The run stays unfinished: correct this and pass --resume, or abandon it with --cleanup.")
    count = "1 problem stops" if len(stopping) == 1 else f"{len(stopping)} problems stop"
    raise Refused(
        f"{plan.untouched} {count} this run:",
        findings=[finding.document() for finding in stopping],
        reasons=[Reason(str(finding)) for finding in stopping],
        steps=steps,
    )
