"""A comparison of two databases as a report."""

from __future__ import annotations

from collections.abc import Iterator

from ...console.reports import Fact, Mood, Point, Report, Verdict, record
from ...console.wording import plural
from ..comparison import Comparison
from ..verification.contents import no_table
from ..verification.rejected_rows import RejectedRows
from .commands import command_line
from .figures import comparison_figures
from .plan import endpoint
from .row_grids import row_grids
from .verification import (
    differing_grids,
    verification_document,
    verification_facts,
    verification_grids,
    verification_points,
)

SHOWN_KEYS = 5


def comparison_report(comparison: Comparison) -> Report:
    """Describe a comparison of two databases; its options say whether values are shown."""
    verification = comparison.verification
    document = {
        "schema": "migrator/verify-counts@1",
        "source": endpoint(comparison.source),
        "dest": endpoint(comparison.dest),
        "mode": comparison.options.mode,
        "seed": comparison.sample.seed if comparison.sample else None,
        "notes": [record(note, "subject", "text", "advice") for note in comparison.notes],
        **verification_document(verification, with_values=comparison.options.show_values),
    }
    return Report(
        title=f"Comparison of {comparison.source.alias!r} with {comparison.dest.alias!r}",
        verdict=_verdict(comparison),
        facts=(
            Fact("from", str(comparison.source)),
            Fact("to", str(comparison.dest)),
            *verification_facts(verification, comparison.sample, option="--mode full"),
        ),
        grids=tuple(differing_grids(verification)),
        points=tuple(_points(comparison)),
        details=tuple(verification_grids(verification)),
        figures=comparison_figures(comparison),
        row_grids=row_grids(verification, with_values=comparison.options.show_values),
        next=tuple(_next_steps(comparison)),
        document=document,
        exit_code=comparison.exit_code,
    )


def _verdict(comparison: Comparison) -> Verdict:
    verification = comparison.verification
    if comparison.exit_code == 3:
        tables = {count.table for count in verification.differing}
        tables |= {found.table.name for found in verification.differing_contents}
        within = f" in {len(tables)} of {plural(len(verification.counts), 'table')}" if tables else ""
        return Verdict(Mood.BAD, "DIFFERENT", f"Differences were found{within}.")
    if comparison.exit_code == 4:
        tables_left = plural(len(verification.unchecked), "table")
        return Verdict(Mood.WARNING, "NOT COMPARED", f"The values of {tables_left} could not be compared.")
    what = {"count": "row counts", "sample": "row counts and a sample of the values"}
    both = what.get(comparison.options.mode, "row counts and values")
    return Verdict(Mood.GOOD, "EQUAL", f"No difference in the {both} of {plural(len(verification.counts), 'table')}.")


def _points(comparison: Comparison) -> Iterator[Point]:
    yield from (Point(Mood.BAD, sentence) for sentence in _missing_tables(comparison))
    yield from verification_points(comparison.verification, with_values=comparison.options.show_values)
    if comparison.rejected:
        yield from _rejected_points(comparison.rejected)
    yield from (Point(Mood.NOTE, str(note)) for note in comparison.notes)


def _next_steps(comparison: Comparison) -> Iterator[str]:
    ends = comparison.source.alias, comparison.dest.alias, comparison.choice
    if comparison.options.mode != "full":
        yield command_line("verify_counts", *ends, "--mode", "full")
    elif comparison.exit_code == 3:
        yield command_line("batch_migrate", *ends, "--update", "--dry-run")


def _missing_tables(comparison: Comparison) -> Iterator[str]:
    """Name the tables that one side does not have, unless the comparison of values does."""
    if not comparison.verification.contents:
        for count in comparison.verification.counts:
            for side, rows in ((comparison.source, count.source_rows), (comparison.dest, count.dest_rows)):
                if rows is None:
                    yield f"{count.label}: {no_table(side.alias, count.table)}."


def _rejected_points(found: RejectedRows) -> Iterator[Point]:
    """Say which rows of a reject file explain a difference, and which do not."""
    are, them = ("is", "it") if found.rows == 1 else ("are", "them")
    left = f"{plural(found.rows, 'row')} of {found.path} {are} not in the destination, as the run left {them}."
    yield Point(Mood.WARNING, left)
    for label, keys in found.there.items():
        if keys:
            rest = len(keys) - SHOWN_KEYS
            more = f" and {rest:,} more" if rest > 0 else ""
            there = f"{label}: rejected, but in the destination now: primary key {', '.join(keys[:SHOWN_KEYS])}{more}."
            yield Point(Mood.WARNING, there)
    for label, count in found.gone.items():
        if count:
            are = "is" if count == 1 else "are"
            yield Point(Mood.WARNING, f"{label}: {plural(count, 'rejected row')} {are} not in the source.")
