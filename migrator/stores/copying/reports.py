"""What the reports of all copies have in common. ``noun`` is what is copied: a key or a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ...console.reports import Cell, Grid, Report
from ...console.wording import plural
from .records import MAX_PROBLEMS_LISTED, CopyCounts, CopyPlan, CopyResult

# Counts that are shown even if they are zero.
ALWAYS = ("read", "written", "present", "expired")


def plan_report(title: str, noun: str, plan: CopyPlan[Any], *, in_dest: Cell, lines: Sequence[str]) -> Report:
    """Return the report of what a copy would do, before it does anything."""
    in_source = "given keys" if plan.in_source is None else plan.in_source
    rows: tuple[tuple[Cell, ...], ...] = (("from", plan.source, in_source), ("to", plan.dest, in_dest))
    notes = [f"Note: {note}." for note in plan.notes]
    return Report(title, (Grid("", ("", "store", f"{noun}s"), rows),), (*lines, *notes))


def heading(noun: str, result: CopyResult[Any]) -> str:
    """Return how much was copied, and how fast."""
    rate = sum(counts.read for counts in result.passes) / result.seconds if result.seconds else 0.0
    count = plural(result.total.written, noun)
    return f"Copied {count} in {result.seconds:.1f} s ({rate:,.0f} read per second)"


def count_grids(noun: str, counts: CopyCounts, words: Mapping[str, str], also: Sequence[str] = ()) -> list[Grid]:
    """Return the table of the counts that ``words`` describes, and that of the records with a problem.

    A zero is shown only if the count is in ``ALWAYS`` or in ``also``.
    """
    shown = [(words[name], count) for name, count in counts.by_name(words).items() if count or name in (*ALWAYS, *also)]
    grids = [Grid("", (f"{noun}s", "count"), (*shown, *sorted(counts.losses.items())))]
    if counts.problems:
        title = "Keys by digest (SHA-256, 16 digits)"
        if len(counts.problems) == MAX_PROBLEMS_LISTED:
            title += f"; the first {MAX_PROBLEMS_LISTED:,}"
        grids.append(Grid(title, ("digest", "what"), tuple(counts.problems)))
    return grids


def limit_lines(noun: str, result: CopyResult[Any]) -> list[str]:
    """Return which records the options kept this copy from seeing."""
    options, lines = result.plan.options, []
    keys = "Keys" if noun == "key" else "Sessions with keys"
    if result.plan.has_given_keys:
        lines.append(f"{keys} that were not given were not copied.")
    if options.match:
        lines.append(f"{keys} that do not begin with the --match prefix were not copied.")
    if options.limit is not None and any(counts.read >= options.limit for counts in result.passes):
        lines.append(f"--limit stopped the copy after {plural(options.limit, noun)}.")
    return lines


def eviction_lines(result: CopyResult[Any]) -> list[str]:
    """Return how many keys the destination has evicted."""
    if not result.evicted:
        return []
    evicted = f"The destination evicted {plural(result.evicted, 'key')} during the copy because its memory was full."
    return [f"{evicted} Give it more memory, and copy again."]


def document(schema: str, result: CopyResult[Any]) -> dict[str, Any]:
    """Return the part of the JSON report that all copies have."""
    return {
        "schema": schema,
        "dry_run": result.is_dry_run,
        "source": result.plan.source,
        "dest": result.plan.dest,
        "in_source": result.plan.in_source,
        "notes": list(result.plan.notes),
        "options": asdict(result.plan.options),
        "seconds": round(result.seconds, 3),
        "evicted": result.evicted,
        "problems": [{"digest": key, "what": why} for key, why in result.total.problems],
    }
