"""The report of a session copy, from its records."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from ..report import Cell, Grid, Report, plural
from .copy import CopyResult, Plan
from .records import MAX_PROBLEMS_LISTED, Tally

WORDS = {
    "read": "read from the source",
    "written": "written",
    "present": "there already, left alone",
    "unchanged": "there already, unchanged since the pass before",
    "refreshed": "changed in the source, written again",
    "removed": "ended in the source, taken back",
    "ended": "ended in the destination since the switch, not brought back",
    "expired": "expired, not copied",
    "no_ttl": "without time to live",
    "skipped": "skipped for having no time to live",
    "changed_by_json": "changed by JSON",
    "unreadable": "unreadable",
    "foreign": "no sessions",
    "unsafe": "pickles that need more than the allow-list",
    "unfit": "not held by the destination",
}
# What is told even when it is nought.
ALWAYS = ("read", "written", "present", "expired", "unreadable")


def copy_report(result: CopyResult) -> Report:
    """Tell what a copy did, or what it would do. Exit code 4 where a session was not moved that should have been."""
    if result.is_dry_run:
        return Report(
            "Dry run: nothing was written", (), (_ends(result.plan),), {**_document(result), "dry_run": True}
        )
    total = result.total
    code = 4 if total.failures or result.evicted else 0
    rate = total.read / result.seconds if result.seconds else 0.0
    heading = f"Copied {plural(total.written, 'session')} in {result.seconds:.1f} s ({rate:,.0f} read in a second)"
    grids = [Grid("", ("sessions", "count"), tuple(_rows(total)))]
    if total.problems:
        rows: tuple[tuple[Cell, ...], ...] = tuple(total.problems)
        title = "Sessions by the digest of their key (SHA-256, 16 digits)"
        if len(rows) == MAX_PROBLEMS_LISTED:
            title += f"; the first {MAX_PROBLEMS_LISTED:,}"
        grids.append(Grid(title, ("digest", "what"), rows))
    return Report(heading, tuple(grids), tuple(_lines(result, code)), _document(result), code)


def _rows(total: Tally) -> list[tuple[Cell, ...]]:
    counts = [(name, getattr(total, name)) for name in WORDS]
    rows: list[tuple[Cell, ...]] = [
        (WORDS[name], count) for name, count in counts if count or name in ALWAYS
    ]
    return rows + [(sentence, count) for sentence, count in sorted(total.losses.items())]


def _lines(result: CopyResult, code: int) -> list[str]:
    lines = []
    if len(result.passes) > 1:
        changes = ", ".join(f"{tally.changes:,}" for tally in result.passes)
        lines.append(f"Changes made by each pass: {changes}.")
    if result.evicted:
        lines.append(
            f"The destination dropped {result.evicted:,} keys for want of room meanwhile: give it more memory, and copy again."
        )
    if code == 0:
        lines.append("Every session that could be read and had not expired is in the destination.")
    elif result.total.failures:
        lines.append(
            f"{plural(result.total.failures, 'session')} could not be moved; the others are in the destination."
        )
    return lines


def _ends(plan: Plan) -> str:
    return f"From {plan.source} to {plan.dest}."


def _document(result: CopyResult) -> dict[str, Any]:
    def counts(tally: Tally) -> dict[str, Any]:
        return {item.name: getattr(tally, item.name) for item in fields(tally) if item.name in WORDS}

    return {
        "schema": "migrator/copy-sessions@1",
        "dry_run": False,
        "source": result.plan.source,
        "dest": result.plan.dest,
        "in_source": result.plan.in_source,
        "in_dest": result.plan.in_dest,
        "notes": list(result.plan.notes),
        "options": asdict(result.plan.options),
        "seconds": round(result.seconds, 3),
        "evicted": result.evicted,
        "total": counts(result.total),
        "losses": dict(result.total.losses),
        "passes": [counts(tally) for tally in result.passes],
        "problems": [{"digest": key, "what": why} for key, why in result.total.problems],
    }
