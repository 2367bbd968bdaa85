"""The last stage of a run: whether the destination holds what the plan said."""

from __future__ import annotations

from collections.abc import Mapping

from ..progress import Progress
from .choices import Choices
from .contents import MOST_DIFFERENCES, Contents, Pairing, compare_contents
from .ends import Ends
from .plan import Plan, most_rows
from .references import existing_keys, find_dangling
from .twins import Twins
from .verify import TableCount, Verification, count_tables, late_counters


def prove(ends: Ends, plan: Plan, choices: Choices, rejected: Mapping[str, int], progress: Progress) -> Verification:
    """Check counters and references in any case, and counts and values as ``choices.verify`` says.

    The source is read in the snapshot that was copied; ``rejected`` gives, by table name, rows that were set aside.
    """
    tables = [planned.table for planned in plan.tables]
    was_loaded_without = not (plan.adds_rows or plan.updates)
    with Twins(ends.dest, most_rows(plan.tables)) as dest:
        dangling = find_dangling(dest, tables, trusts_constraints=was_loaded_without)
        dest.begin()
        counts = _count(ends, plan, choices, rejected)
        contents = _compare(ends, plan, choices, rejected, progress)
        return Verification(counts, late_counters(ends.dest, tables), tuple(dangling()), contents)


def _count(ends: Ends, plan: Plan, choices: Choices, rejected: Mapping[str, int]) -> tuple[TableCount, ...]:
    if choices.verify == "none":
        return ()
    if plan.adds_rows:
        return _count_added(ends, plan, rejected)
    return count_tables(ends.source, ends.dest, [planned.table for planned in plan.tables], rejected)


def _count_added(ends: Ends, plan: Plan, rejected: Mapping[str, int]) -> tuple[TableCount, ...]:
    """Look up the key of every chosen row in the destination, whose own rows say nothing in a mere count."""
    return tuple(
        TableCount(
            planned.table.label,
            planned.table.name,
            planned.source_rows,
            existing_keys(ends.source, ends.dest, planned.table, planned.route.restriction)[0],
            rejected.get(planned.table.name, 0),
        )
        for planned in plan.tables
    )


def _compare(
    ends: Ends, plan: Plan, choices: Choices, rejected: Mapping[str, int], progress: Progress
) -> tuple[Contents, ...]:
    if choices.verify != "full":
        return ()
    pairings = [
        Pairing(
            planned.table,
            ends.source,
            ends.dest,
            planned.source_rows,
            restriction=planned.route.restriction,
            mappings=planned.route.mappings,
            allows_extra=plan.adds_rows,
            rejected=rejected.get(planned.table.name, 0),
        )
        for planned in plan.tables
    ]
    return compare_contents(
        pairings, sample=None, chunk_size=choices.rows_compared_at_once, most=MOST_DIFFERENCES, progress=progress
    )
