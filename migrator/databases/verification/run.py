"""The last stage of a run: verify that the destination holds what the plan said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial

from ...console.progress import Progress
from ..endpoints import Endpoints
from ..engines.base.engine import Engine
from ..engines.base.reading import COUNTED_TOGETHER
from ..planning.foreign_keys import find_orphans
from ..planning.key_lookup import existing_keys
from ..planning.parallel_queries import ParallelQueries, completed, deferred
from ..planning.plan import Plan, TablePlan
from ..run_options import RunOptions
from .contents import MOST_DIFFERENCES, Contents, Pairing
from .counts import TableCount, Verification, late_sequences
from .table_comparison import compare_contents

# Compares all rows of tables.
Compare = Callable[[Sequence[Pairing]], tuple[Contents, ...]]


def verify_run(
    endpoints: Endpoints,
    plan: Plan,
    options: RunOptions,
    rejected: Mapping[str, int],
    progress: Progress,
    compare: Compare | None = None,
) -> Verification:
    """Check sequences and foreign keys in any case, and row counts and values as ``options.verify`` says.

    Row counts include the values of tables whose triggers have fired, because those may have changed what was written.
    The source is read in the snapshot that was copied; ``rejected``: by table name, how many rows were rejected.
    ``compare``, if given, compares values in other processes.
    """
    tables = [planned.table for planned in plan.tables]
    rows = {planned.table.name: planned.source_rows for planned in plan.tables}
    was_loaded_without = not (plan.adds_rows or plan.updates)
    with ParallelQueries(endpoints.dest, max(rows.values(), default=0)) as dest:
        orphans = find_orphans(dest, tables, rows, trusts_constraints=was_loaded_without)
        counts = _count(endpoints, dest, plan, options, rejected)
        pairings = _pairings(plan, options, rejected)
        if compare is not None:
            contents = compare(pairings)  # before any thread begins: it forks
        else:
            dest.begin()
            contents = compare_contents(
                pairings,
                sample=None,
                chunk_size=options.rows_compared_at_once,
                most=MOST_DIFFERENCES,
                progress=progress,
            )
        return Verification(counts.result(), late_sequences(endpoints.dest, tables), tuple(orphans.result()), contents)


def compared_tables(plan: Plan, options: RunOptions) -> list[TablePlan]:
    """Return the tables whose values are compared: all if the user wants it, and those whose triggers have fired."""
    if options.verify == "none":
        return []
    return [t for t in plan.tables if options.verify == "full" or t.table.name in plan.with_triggers]


def count_tables(endpoints: Endpoints, plan: Plan) -> tuple[TableCount, ...]:
    """Compare the row counts that a plan has found."""
    return tuple(
        _table_count(planned, planned.source_rows, _count_added(endpoints, planned), {})
        if plan.adds_rows
        else _table_count(planned, planned.source_rows, planned.dest_rows, {})
        for planned in plan.tables
    )


def _count(
    endpoints: Endpoints, dest: ParallelQueries, plan: Plan, options: RunOptions, rejected: Mapping[str, int]
) -> Future[tuple[TableCount, ...]]:
    """Queue the destination's row counts; the answer compares them with the source's."""
    if options.verify == "none":
        return completed(())
    if plan.adds_rows:
        return deferred(
            lambda: tuple(
                _table_count(planned, planned.source_rows, _count_added(endpoints, planned), rejected)
                for planned in plan.tables
            )
        )
    rows = {planned.table.name: planned.source_rows for planned in plan.tables}
    large = {name for name in rows if rows[name] > COUNTED_TOGETHER}
    each = {name: dest.ask(partial(Engine.count, table=name), rows[name]) for name in large}
    together = dest.ask(partial(Engine.counts, tables=[name for name in rows if name not in large]))

    def counts() -> tuple[TableCount, ...]:
        dest_rows = together.result() | {name: answer.result() for name, answer in each.items()}
        return tuple(
            _table_count(planned, _count_source(endpoints.source, planned), dest_rows[planned.table.name], rejected)
            for planned in plan.tables
        )

    return deferred(counts)


def _table_count(planned: TablePlan, source_rows: int, dest_rows: int, rejected: Mapping[str, int]) -> TableCount:
    table = planned.table
    return TableCount(table.label, table.name, source_rows, dest_rows, rejected.get(table.name, 0))


def _count_source(source: Engine, planned: TablePlan) -> int:
    """Count what may have changed during the run; the plan has counted the others in the snapshot that was copied."""
    name = planned.table.name
    return source.count(name) if name in source.outside_snapshot else planned.source_rows


def _count_added(endpoints: Endpoints, planned: TablePlan) -> int:
    """Look up the key of every chosen row in the destination, whose other rows would make a plain count useless."""
    return existing_keys(endpoints.source, endpoints.dest, planned.table, planned.route.restriction)[0]


def _pairings(plan: Plan, options: RunOptions, rejected: Mapping[str, int]) -> list[Pairing]:
    return [
        Pairing.of(
            planned, with_generated=True, allows_extra=plan.adds_rows, rejected=rejected.get(planned.table.name, 0)
        )
        for planned in compared_tables(plan, options)
    ]
