"""Reports as one HTML page each."""

from __future__ import annotations

import html
from collections.abc import Sequence

from .reports import WRITTEN_BY, Cell, Report, cell_text
from .safe_text import visible

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}"
    "table{border-collapse:collapse;margin:1rem 0}th,td{padding:.2rem .7rem;border-bottom:1px solid #ddd}"
    "th{text-align:left}td.number{text-align:right;font-variant-numeric:tabular-nums}"
    "tfoot td{font-weight:600}footer{color:#666}"
)


def to_html(report: Report) -> str:
    """Format the report, with its preface, as one HTML page that needs no other file."""
    title = _escaped(report.title)
    parts = [part for shown in (report, report.preface) if shown for part in _html_parts(shown)]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body>{''.join(parts)}<footer>{WRITTEN_BY}</footer></body></html>\n"
    )


def _html_parts(report: Report) -> list[str]:
    def cells(row: Sequence[Cell]) -> str:
        return "".join(
            f'<td class="number">{cell_text(value)}</td>'
            if isinstance(value, int | float)
            else f"<td>{html.escape(cell_text(value))}</td>"
            for value in row
        )

    parts = [f"<h1>{_escaped(report.title)}</h1>"]
    parts.append(f"<p><strong>{_escaped(report.verdict.word)}</strong> {_escaped(report.verdict.sentence)}</p>")
    facts = [(fact.label, fact.full or fact.value) for fact in report.facts]
    facts += [(label, f"{seconds:.1f} s") for label, seconds in report.timings.items()]
    if facts:
        rows = "".join(f"<dt>{_escaped(label)}</dt><dd>{_escaped(value)}</dd>" for label, value in facts)
        parts.append(f"<dl>{rows}</dl>")
    parts += [f"<p>{_escaped(text)}</p>" for point in report.points for text in (point.sentence, *point.statements)]
    for grid in report.details:
        heads = "".join(f"<th>{_escaped(head)}</th>" for head in grid.headers)
        rows = "".join(f"<tr>{cells(row)}</tr>" for row in grid.rows)
        foot = f"<tfoot><tr>{cells(grid.footer)}</tr></tfoot>" if grid.footer else ""
        parts.append(f"<h2>{_escaped(grid.title)}</h2><table><thead><tr>{heads}</tr></thead>")
        parts.append(f"<tbody>{rows}</tbody>{foot}</table>")
    parts += [f"<p>Next: {_escaped(step)}</p>" for step in report.next]
    return parts


def _escaped(text: str) -> str:
    return html.escape(visible(text))
