"""Figures as the bars of a chart, such as where the time of a run went."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from .reports import Report
from .wording import seconds_text

OTHER = "start, prompts and other"
_SHOWN_SECONDS = 0.05
_SHOWN_TABLES = 5
_LONGEST_LABEL = 40
_FIRST, _BELOW_HEAD, _ROW, _NEXT_GROUP = 14, 26, 34, 48  # pixels between the baselines of labels


@dataclass(frozen=True)
class Bar:
    """A bar, or with no ``width`` the head of a group. All are texts of SVG; ``y`` is the baseline of the label."""

    label: str
    value: str
    y: str
    top: str = ""
    width: str = ""


@dataclass(frozen=True)
class Chart:
    """Bars below one another, and the same figures as a sentence for those who cannot see them."""

    bars: tuple[Bar, ...]
    height: str
    description: str
    title: str
    has_tables: bool = False


def time_chart(report: Report, seconds: float | None) -> Chart | None:
    """Return the chart of a report's phases and slowest tables, None if there is nothing to compare.

    The phases and what is left over add up to ``seconds``, which is how long the whole command took if that is known.
    """
    phases = phase_seconds(report, seconds)
    slow = [(label, spent) for label, spent in report.slowest.items() if spent >= _SHOWN_SECONDS]
    tables = dict(slow[:_SHOWN_TABLES])
    groups = {"Phases": phases, "Slowest tables": tables}
    if len(phases) + len(tables) < 2:
        return None
    totals = {"Phases": f"{seconds_text(sum(phases.values()))} in all"}
    chart = bar_chart("Where the time went", groups, seconds_text, totals)
    return chart and replace(chart, has_tables=bool(tables))


def bar_chart(
    title: str, groups: Mapping[str, Mapping[str, float]], text: Callable[[float], str], totals: Mapping[str, str]
) -> Chart | None:
    """Return figures by group and label as bars of one scale, None if all are 0; ``totals`` are for some groups."""
    longest = max((figure for shown in groups.values() for figure in shown.values()), default=0.0)
    if not longest:
        return None
    bars: list[Bar] = []
    y = 0
    for head, shown in groups.items():
        if shown:
            y += _NEXT_GROUP if bars else _FIRST
            bars.append(Bar(head, totals.get(head, ""), str(y)))
        for label, figure in shown.items():
            y += _ROW if bars[-1].width else _BELOW_HEAD
            bars.append(Bar(_fitting(label), text(figure), str(y), str(y + 7), f"{100 * figure / longest:.2f}%"))
    sentences = (
        f"{head}: {', '.join(f'{label} {text(figure)}' for label, figure in shown.items())}."
        for head, shown in groups.items()
        if shown
    )
    return Chart(tuple(bars), str(y + 20), " ".join(sentences), title)


def phase_seconds(report: Report, seconds: float | None) -> Mapping[str, float]:
    """Return the seconds of each phase that took long enough to be shown, and of everything else."""
    if not report.timings:
        return {}
    shown = {label: spent for label, spent in report.timings.items() if spent >= _SHOWN_SECONDS}
    whole = sum(report.timings.values())
    rest = max(whole, seconds or 0.0) - sum(shown.values())
    return {**shown, **({OTHER: rest} if rest >= _SHOWN_SECONDS else {})}


def _fitting(label: str) -> str:
    """Shorten a label in its middle, so that it does not run into the value."""
    half = _LONGEST_LABEL // 2
    return label if len(label) <= _LONGEST_LABEL else f"{label[: half - 1]}…{label[-half:]}"
