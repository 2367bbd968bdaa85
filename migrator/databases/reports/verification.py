"""What verification found, as parts of a report: counts, counters, references and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...console.reports import Cell, Grid
from ...console.wording import plural
from ..chunks import key_text
from ..verification.contents import NOT_COMPARED, SAMPLED, UNCHECKED, Contents, Sample
from ..verification.counts import REJECTED, TableCount, Verification
from ..verification.rows import CHANGED

SHOWN_ROWS = 20
LONGEST_VALUE = 200


def count_grid(title: str, counts: Sequence[TableCount]) -> Grid:
    """Make the table of counts: source, destination, difference."""
    rows: list[tuple[Cell, ...]] = [
        (count.label, count.source_rows, count.dest_rows, count.difference, count.status) for count in counts
    ]
    footer = (
        "total",
        sum(count.source_rows or 0 for count in counts),
        sum(count.dest_rows or 0 for count in counts),
        sum(count.difference or 0 for count in counts),
        "",
    )
    return Grid(title, ("model", "source", "destination", "difference", "status"), tuple(rows), footer)


def verification_lines(verification: Verification, *, with_values: bool = False) -> list[str]:
    """Say what was checked and what was found."""
    lines = [f"Counter behind its table: {late}." for late in verification.late_counters]
    lines += [f"Dangling: {dangling.table.label}: {dangling}." for dangling in verification.dangling]
    lines += contents_lines(verification.contents, with_values=with_values)
    if verification.counts:
        differing = len(verification.differing)
        lacking = sum(count.status == REJECTED for count in verification.counts)
        of_all = plural(len(verification.counts), "table")
        if differing:
            lines.append(f"Counts differ in {differing} of {of_all}.")
        elif lacking:
            lines.append(f"Counts agree in {of_all}, but for the rejected rows of {lacking} of them.")
        else:
            lines.append(f"Counts agree in {of_all}.")
    else:
        lines.append("Counts were not compared, as asked (--verify none).")
    if not (verification.late_counters or verification.dangling):
        lines.append("Counters are above the largest keys, and every foreign key leads to a row.")
    return lines


def verification_document(verification: Verification, *, with_values: bool = False) -> dict[str, Any]:
    """Describe a comparison for programs."""
    contents = contents_documents(verification.contents, with_values=with_values)
    return {
        "models": [
            {
                "label": count.label,
                "table": count.table,
                "source_rows": count.source_rows,
                "dest_rows": count.dest_rows,
                **({"rejected": count.rejected} if count.rejected else {}),
                "status": count.status,
                **contents.get(count.table, {}),
            }
            for count in verification.counts
        ],
        "late_counters": [str(late) for late in verification.late_counters],
        "dangling": [f"{dangling.table.label}: {dangling}" for dangling in verification.dangling],
    }


def contents_grid(contents: Sequence[Contents]) -> Grid:
    """Make the table of compared values."""
    rows: list[tuple[Cell, ...]] = [
        (c.label, c.method, c.checked, c.missing, c.extra, c.changed, c.status) for c in contents
    ]
    totals = (sum(getattr(c, name) for c in contents) for name in ("checked", "missing", "extra", "changed"))
    headers = ("model", "compared by", "rows", "missing", "extra", "changed", "status")
    return Grid("Values on both sides", headers, tuple(rows), ("total", "", *totals, ""))


def contents_lines(contents: Sequence[Contents], *, with_values: bool) -> list[str]:
    """Name rows that differ, and say what could not be compared."""
    lines = []
    for found in contents:
        lines += [f"{found.label} {_told(found, i, with_values)}" for i in range(len(found.differences))][:SHOWN_ROWS]
        unnamed = found.differing - min(len(found.differences), SHOWN_ROWS)
        if unnamed:
            lines.append(f"{found.label}: {plural(unnamed, 'more row')} differ{'s' if unnamed == 1 else ''}.")
        lines += [
            f"{found.label}.{name}: NULL in {plural(one, 'row')} of the source, and in {other:,} of the destination."
            for name, (one, other) in found.nulls.items()
        ]
        lines += [
            f"{found.label}.{name} is computed by each database for itself: its expression gives something else there."
            for name in _drifting(found)
        ]
        if found.reason:
            lines.append(f"{found.label}: {found.reason}.")
        if found.equivalent:
            lines.append(f"{found.label}: {plural(found.equivalent, 'row')} spelled otherwise, with equal values.")
    return lines


def _drifting(found: Contents) -> list[str]:
    """Name the generated columns in which rows differ that have nothing else that does."""
    generated = [column.attname for column in found.table.generated]
    alone = {name for each in found.differences if {*each.fields} <= {*generated} for name in each.fields}
    return [name for name in generated if name in alone]


def _told(found: Contents, position: int, with_values: bool) -> str:
    difference = found.differences[position]
    text = f"{key_text(found.table, difference.key)}: {difference.kind}"
    if difference.kind != CHANGED:
        return text
    if not with_values:
        return f"{text}: {', '.join(difference.fields)}"
    values = (f"{name} {_shown(one)} became {_shown(other)}" for name, (one, other) in difference.values.items())
    return f"{text}: {'; '.join(values)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}… ({len(text):,} characters)"


def proof_lines(contents: Sequence[Contents], sample: Sample | None) -> list[str]:
    """Say what is proven by the comparison of values, and what is not."""
    compared = [c for c in contents if c.method != NOT_COMPARED]
    whole = [c for c in compared if c.method != SAMPLED]
    rows = sum(c.checked for c in whole)
    lines = [f"Compared: the values of all {plural(rows, 'row')} of {plural(len(whole), 'table')}."] if whole else []
    sampled = [c for c in compared if c.method == SAMPLED]
    if sample and sampled:
        rows = sum(c.checked for c in sampled)
        lines.append(
            f"Compared: {plural(rows, 'row')} of {plural(len(sampled), 'table')}, chosen by --seed {sample.seed} "
            f"--sample {sample.rows}. That shows, 19 times in 20, damage to {300 / sample.rows:.2g} % of a table's "
            "rows, and a single bad row hardly ever; --mode full shows every one."
        )
    if unchecked := [c.label for c in contents if c.status == UNCHECKED]:
        lines.append(f"Not compared: {', '.join(unchecked)}; see above.")
    return lines


def contents_documents(contents: Sequence[Contents], *, with_values: bool) -> dict[str, dict[str, Any]]:
    """Describe the comparison of values for programs, by table name."""
    return {
        found.table.name: {
            "checked": found.checked,
            "method": found.method,
            "missing": found.missing,
            "extra": found.extra,
            "changed": found.changed,
            "equivalent": found.equivalent,
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
        for found in contents
    }


def _values(values: Any) -> dict[str, list[str]]:
    return {name: [_shown(one), _shown(other)] for name, (one, other) in values.items()}
