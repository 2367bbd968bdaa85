"""What verification found, as parts of a report: row counts, sequences, foreign keys and values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...console.reports import Cell, Fact, Grid, Mood, Point, record, totals, without_column
from ...console.wording import listed, plural, shortened
from ..primary_keys import key_text
from ..verification.contents import EQUAL as CONTENTS_EQUAL
from ..verification.contents import NOT_COMPARED, SAMPLED, UNCHECKED, Contents, Sample
from ..verification.counts import EQUAL, REJECTED, TableCount, Verification
from ..verification.rows import CHANGED, RowDifference

VALUES = "values"  # the label of what comparing them has found
SHOWN_ROWS = 20
SHOWN_TABLES = 4
LONGEST_VALUE = 200


# -- grids ------------------------------------------------------------------------------------------------------------


def verification_grids(verification: Verification | None) -> Iterator[Grid]:
    """Yield the grids of row counts and of compared values, if they were compared."""
    if verification and verification.counts:
        yield _count_grid(verification.counts)
    if verification and verification.contents:
        yield _contents_grid(verification.contents)


def differing_grids(verification: Verification | None) -> Iterator[Grid]:
    """Yield the same for a few of the tables that differ, each in one grid."""
    if not verification:
        return
    contents = sorted((c for c in verification.contents if c.status != CONTENTS_EQUAL), key=_contents_order)
    named = {found.table.name for found in contents}
    counts = [count for count in verification.counts if count.status != EQUAL and count.table not in named]
    if counts:
        yield shortened_grid(_count_grid(sorted(counts, key=_count_order)), "Row counts that differ")
    if contents:
        yield shortened_grid(without_column(_contents_grid(contents), "compared by"), "Values that differ")


def _count_order(count: TableCount) -> tuple[bool, int]:
    """Sort tables by what readers need most: rejected rows explain a difference."""
    return count.status == REJECTED, -abs(count.difference or 0)


def _contents_order(found: Contents) -> tuple[bool, int]:
    return found.status == UNCHECKED, -found.differing


def shortened_grid(grid: Grid, title: str) -> Grid:
    """Return the first rows of a grid; the title counts the others."""
    rest = len(grid.rows) - SHOWN_TABLES
    more = f" (and {plural(rest, 'more table')}; -v 2 lists them all)" if rest > 0 else ""
    return Grid(f"{title}{more}", grid.headers, grid.rows[:SHOWN_TABLES])


def _count_grid(counts: Sequence[TableCount]) -> Grid:
    rows: list[tuple[Cell, ...]] = [
        (count.label, count.source_rows, count.dest_rows, count.difference, count.status) for count in counts
    ]
    headers = ("model", "source", "destination", "difference", "status")
    return Grid("Rows on both sides", headers, tuple(rows), ("total", *totals(rows)))


def _contents_grid(contents: Sequence[Contents]) -> Grid:
    rows: list[tuple[Cell, ...]] = [
        (c.label, c.method, c.checked, c.missing, c.extra, c.changed, c.status) for c in contents
    ]
    headers = ("model", "compared by", "rows", "missing", "extra", "changed", "status")
    return Grid("Values on both sides", headers, tuple(rows), ("total", *totals(rows)))


# -- facts ------------------------------------------------------------------------------------------------------------


def verification_facts(verification: Verification, sample: Sample | None, *, option: str) -> Iterator[Fact]:
    """Say what was compared, and what that proves; ``option`` is the one that compares all values."""
    yield _count_fact(verification)
    yield from _contents_facts(verification, sample, option)
    late, orphans = verification.late_sequences, sum(orphans.rows for orphans in verification.orphans)
    if not (late or orphans):
        full = "sequences are ahead of the largest keys; every foreign key has a matching row"
        yield Fact("keys", "sequences and foreign keys are correct", full, Mood.GOOD)
    if late:
        yield Fact("sequences", f"{len(late)} out of sync", mood=Mood.BAD)
    if orphans:
        yield Fact("foreign keys", f"{plural(orphans, 'row')} without a matching row", mood=Mood.BAD)


def _count_fact(verification: Verification) -> Fact:
    label, of_all = "row counts", plural(len(verification.counts), "table")
    if not verification.counts:
        return Fact(label, "not compared (--verify none)", mood=Mood.WARNING)
    if differing := len(verification.differing):
        return Fact(label, f"differ in {differing} of {of_all}", mood=Mood.BAD)
    short = sum(count.status == REJECTED for count in verification.counts)
    if not short:
        return Fact(label, f"match in {of_all}", mood=Mood.GOOD)
    of_them = "1 is short by exactly its" if short == 1 else f"{short} are short by exactly their"
    matching = len(verification.counts) - short
    return Fact(label, f"match in {matching} of {of_all}; {of_them} rejected rows", mood=Mood.WARNING)


def _contents_facts(verification: Verification, sample: Sample | None, option: str) -> Iterator[Fact]:
    contents = verification.contents
    if not contents:
        yield Fact(VALUES, f"not compared ({option} compares them)")
        return
    differing = len(verification.differing_contents)
    result = f"differ in {plural(differing, 'table')}" if differing else "equal"
    whole = [c for c in contents if c.method not in (NOT_COMPARED, SAMPLED)]
    sampled = [c for c in contents if c.method == SAMPLED]
    compared = [f"all {_rows_of(whole)}"] if whole else []
    if sample and sampled:
        compared.append(f"a sample of {_rows_of(sampled)} (--seed {sample.seed})")
    if compared:
        yield Fact(VALUES, f"{result}: compared {listed(compared)}", mood=Mood.BAD if differing else Mood.GOOD)
    if sample and sampled:
        yield Fact(
            "sample",
            f"finds damage to {300 / sample.rows:.2g} % of a table's rows 19 times in 20, but hardly ever a single bad "
            f"row (--sample {sample.rows}); --mode full finds every one",
        )
    if verification.unchecked:
        labels = [found.label for found in verification.unchecked]
        yield Fact("not compared", shortened(labels, SHOWN_TABLES), full=", ".join(labels), mood=Mood.WARNING)
    if others := len(verification.counts) - len(contents):
        yield Fact("not compared", f"values of {plural(others, 'other table')} ({option} compares them)")


def _rows_of(contents: Sequence[Contents]) -> str:
    return f"{plural(sum(found.checked for found in contents), 'row')} of {plural(len(contents), 'table')}"


# -- points -----------------------------------------------------------------------------------------------------------


def verification_points(verification: Verification, *, with_values: bool = False) -> Iterator[Point]:
    """Name what is wrong, and what could not be compared; values are only shown ``with_values``."""
    for sequence in verification.late_sequences:
        yield Point(Mood.BAD, f"Sequence out of sync: {sequence}.")
    for orphans in verification.orphans:
        yield Point(Mood.BAD, f"Orphans: {orphans.table.label}: {orphans}.")
    for found in verification.contents:
        yield from _contents_points(found, with_values)


def _contents_points(found: Contents, with_values: bool) -> Iterator[Point]:
    """Name rows that differ, and say what could not be compared."""
    shown = found.differences[:SHOWN_ROWS]
    for each in shown:
        yield Point(Mood.BAD, f"{found.label} {_difference_text(found, each, with_values)}", is_row=True)
    if unnamed := found.differing - len(shown):
        more = f"{found.label}: {plural(unnamed, 'more row')} differ{'s' if unnamed == 1 else ''}."
        yield Point(Mood.BAD, more, is_row=True)
    for name, (one, other) in found.nulls.items():
        rows = f"NULL in {plural(one, 'row')} of the source and in {other:,} of the destination"
        yield Point(Mood.BAD, f"{found.label}.{name}: {rows}.")
    for name in _drifting(found):
        text = f"{found.label}.{name} is a generated column: its expression has another result in the destination."
        yield Point(Mood.BAD, text)
    if found.reason:
        yield Point(Mood.WARNING, f"{found.label}: {found.reason}.")
    if count := found.equivalent:
        rows = plural(count, "row has", "rows have")
        yield Point(Mood.NOTE, f"{found.label}: {rows} equal values in a different text form.")


def _drifting(found: Contents) -> list[str]:
    """Return the generated columns that differ in rows in which nothing else does."""
    generated = [column.attname for column in found.table.generated]
    alone = {name for each in found.differences if {*each.fields} <= {*generated} for name in each.fields}
    return [name for name in generated if name in alone]


def _difference_text(found: Contents, difference: RowDifference, with_values: bool) -> str:
    text = f"{key_text(found.table, difference.key)}: {difference.kind}"
    if difference.kind != CHANGED:
        return text
    if not with_values:
        return f"{text}: {', '.join(difference.fields)}"
    values = difference.values.items()
    changes = (f"{name} {shown_value(one)} became {shown_value(other)}" for name, (one, other) in values)
    return f"{text}: {'; '.join(changes)}"


def shown_value(value: Any) -> str:
    """Format a value of a row; a long one is cut."""
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}… ({len(text):,} characters)"


# -- documents --------------------------------------------------------------------------------------------------------


def verification_document(verification: Verification, *, with_values: bool = False) -> dict[str, Any]:
    """Describe a verification for programs."""
    contents = {found.table.name: _contents_document(found, with_values) for found in verification.contents}
    return {
        "models": [
            {
                **record(count, "label", "table", "source_rows", "dest_rows"),
                **(record(count, "rejected") if count.rejected else {}),
                "status": count.status,
                **contents.get(count.table, {}),
            }
            for count in verification.counts
        ],
        "late_counters": [str(sequence) for sequence in verification.late_sequences],
        "dangling": [f"{orphans.table.label}: {orphans}" for orphans in verification.orphans],
    }


def _contents_document(found: Contents, with_values: bool) -> dict[str, Any]:
    return {
        **record(found, "checked", "method", "missing", "extra", "changed", "equivalent"),
        "nulls": {name: list(counts) for name, counts in found.nulls.items()},
        "values": found.status,
        "reason": found.reason or None,
        "diffs": [
            {
                "pk": key_text(found.table, difference.key),
                "kind": difference.kind,
                "fields": list(difference.fields),
                **({"values": _values(difference.values)} if with_values else {}),
            }
            for difference in found.differences
        ],
        "truncated": found.is_truncated,
    }


def _values(values: Mapping[str, tuple[Any, Any]]) -> dict[str, list[str]]:
    return {name: [shown_value(one), shown_value(other)] for name, (one, other) in values.items()}
