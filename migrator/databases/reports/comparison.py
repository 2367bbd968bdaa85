"""A comparison of two databases as a report."""

from __future__ import annotations

from collections.abc import Iterator

from ...console.reports import Report, record
from ...console.wording import plural
from ..verification.compare import Comparison
from ..verification.contents import no_table
from ..verification.counts import EQUAL
from ..verification.rejected_rows import RejectedRows
from .plan import endpoint
from .verification import proof_lines, verification_document, verification_grids, verification_lines

SHOWN_KEYS = 5


def comparison_report(comparison: Comparison) -> Report:
    """Describe a comparison of two databases; its options say whether values are shown."""
    verification = comparison.verification
    heading = f"Comparison\n  source      {comparison.source}\n  destination {comparison.dest}"
    document = {
        "schema": "migrator/verify-counts@1",
        "source": endpoint(comparison.source),
        "dest": endpoint(comparison.dest),
        "mode": comparison.options.mode,
        "seed": comparison.sample.seed if comparison.sample else None,
        "notes": [record(note, "subject", "text", "advice") for note in comparison.notes],
        **verification_document(verification, with_values=comparison.options.show_values),
    }
    grids = tuple(verification_grids(verification))
    return Report(heading, grids, tuple(_lines(comparison)), document, comparison.exit_code)


def _lines(comparison: Comparison) -> Iterator[str]:
    verification = comparison.verification
    yield from _missing_tables(comparison)
    yield from verification_lines(verification, with_values=comparison.options.show_values)
    yield from proof_lines(verification.contents, comparison.sample)
    if not verification.contents:
        equal = sum(count.status == EQUAL for count in verification.counts)
        yield f"Compared: exact row counts of {plural(len(verification.counts), 'table')}, {equal} of them equal."
        yield "Row values were not compared (--mode full compares them)."
    if comparison.rejected:
        yield from _rejected_lines(comparison.rejected)
    yield from (f"Note: {note}" for note in comparison.notes)
    if comparison.exit_code == 3:
        yield "Differences were found."


def _missing_tables(comparison: Comparison) -> Iterator[str]:
    """Name the tables that one side does not have, unless the comparison of values does."""
    if not comparison.verification.contents:
        for count in comparison.verification.counts:
            for side, rows in ((comparison.source, count.source_rows), (comparison.dest, count.dest_rows)):
                if rows is None:
                    yield f"{count.label}: {no_table(side.alias, count.table)}."


def _rejected_lines(found: RejectedRows) -> Iterator[str]:
    """Say which rows of a reject file explain a difference, and which do not."""
    are, them = ("is", "it") if found.rows == 1 else ("are", "them")
    yield f"{plural(found.rows, 'row')} of {found.path} {are} not in the destination, as the run left {them}."
    for label, keys in found.there.items():
        if keys:
            rest = len(keys) - SHOWN_KEYS
            more = f" and {rest:,} more" if rest > 0 else ""
            yield f"{label}: rejected, but in the destination now: primary key {', '.join(keys[:SHOWN_KEYS])}{more}."
    for label, count in found.gone.items():
        if count:
            yield f"{label}: {plural(count, 'rejected row')} {'is' if count == 1 else 'are'} not in the source."
