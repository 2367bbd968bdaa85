"""The report of a cache copy, from its records."""

from __future__ import annotations

from dataclasses import asdict

from ..console.reports import Cell, Grid, Report
from ..console.wording import listed, plural
from .records import CacheCounts, CachePlan, CacheResult, tally_counts

WORDS = {
    "read": "read from the source",
    "written": "written",
    "present": "there already, left alone",
    "overwritten": "there already, written over",
    "refreshed": "changed in the source, written again",
    "removed": "dropped in the source, taken back",
    "expired": "expired, not copied",
    "no_ttl": "without time to live, which they still are",
    "unfit": "not held by the destination",
}
ALWAYS = ("read", "written", "present", "expired", "unfit")


def plan_report(plan: CachePlan) -> Report:
    """Tell what a copy would do, before it does anything."""
    rows: tuple[tuple[Cell, ...], ...] = (
        ("from", plan.source, "as given" if plan.in_source is None else plan.in_source),
        ("to", plan.dest, None),
    )
    lines = [f"Values go {plan.encoding}.", *(f"Note: {note}." for note in plan.notes)]
    return Report("Copy a cache", (Grid("", ("", "place", "keys"), rows),), tuple(lines))


def copy_report(result: CacheResult) -> Report:
    """Tell what a copy did. Exit code 4 where a key was not moved that should have been."""
    tally, is_empty = result.tally, result.plan.in_source == 0
    if result.is_dry_run:
        done = "Dry run: nothing was written."
        if is_empty:
            return Report("", (), (done, _nothing_found(result.plan)), _document(result), 3)
        return Report(done, (), (), _document(result))
    code = 4 if tally.unfit or result.evicted else 3 if _is_nothing(tally) else 0
    counts = tally_counts(tally)
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (WORDS[name], count) for name, count in counts.items() if count or name in ALWAYS
    )
    grids = [Grid("", ("keys", "count"), rows)]
    if tally.problems:
        grids.append(Grid("Keys by digest (SHA-256, 16 digits)", ("digest", "what"), tuple(tally.problems)))
    rate = tally.read / result.seconds if result.seconds else 0.0
    heading = f"Copied {plural(tally.written, 'key')} in {result.seconds:.1f} s ({rate:,.0f} read in a second)"
    return Report(heading, tuple(grids), tuple(_lines(result)), _document(result), code)


def _lines(result: CacheResult) -> list[str]:
    options, lines = result.plan.options, []
    if result.plan.own:
        lines.append(f"{plural(result.plan.own, 'key')} that migrator keeps in the source for itself stayed there.")
    if options.keys_from is not None:
        lines.append("Keys that were not given were not looked for.")
    if options.match:
        lines.append("Keys that begin otherwise than --match says were not copied.")
    if options.limit is not None and result.tally.read >= options.limit:
        lines.append(f"--limit let {plural(options.limit, 'key')} be read, and no more.")
    if result.evicted:
        lines.append(
            f"The destination dropped {result.evicted:,} keys for want of room meanwhile: "
            "give it more memory, and copy again."
        )
    moved = listed(["was read", "had not expired", *(["was not dropped meanwhile"] if result.tally.removed else [])])
    if result.tally.unfit:
        others = "" if result.evicted else f"; each other one that {moved} is in the destination"
        lines.append(f"{plural(result.tally.unfit, 'key')} could not be moved{others}.")
    elif not result.evicted and _is_nothing(result.tally):
        lines.append(_nothing_found(result.plan))
    elif not result.evicted:
        lines.append(f"Every key that {moved} is in the destination.")
    return lines


def _is_nothing(tally: CacheCounts) -> bool:
    """Whether no key was there to be copied; given keys that are not there count as expired."""
    return tally.read == tally.expired


def _nothing_found(plan: CachePlan) -> str:
    """Say which pattern found nothing."""
    if plan.options.keys_from is not None:
        return f"None of the keys that were given was found in {plan.source}."
    return (
        f"No key was found in {plan.source}. If it holds any, check KEY_PREFIX, VERSION and KEY_FUNCTION of the alias"
        f"{', and --match' if plan.options.match else ''}."
    )


def _document(result: CacheResult) -> dict[str, object]:
    return {
        "schema": "migrator/copy-cache@1",
        "dry_run": result.is_dry_run,
        "source": result.plan.source,
        "dest": result.plan.dest,
        "in_source": result.plan.in_source,
        "notes": list(result.plan.notes),
        "options": asdict(result.plan.options),
        "seconds": round(result.seconds, 3),
        "evicted": result.evicted,
        "counts": tally_counts(result.tally),
        "problems": [{"digest": key, "what": why} for key, why in result.tally.problems],
    }
