"""Reports as one HTML page each, made of the templates in ``report_page``: it needs no other file, and no script."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from django.template import Context, Engine

from .provenance import Provenance
from .report_text import is_numeric
from .reports import WRITTEN_BY, Assessment, Cell, Check, Fact, Grid, Mood, Point, Report, Verdict, cell_text
from .safe_text import visible
from .time_chart import time_chart
from .wording import plural, seconds_text

APPROVAL = "I have read this assessment and the checks in it, and I approve the run."
OF_RUN = ("versions",)  # facts that a page has anyway
ENDS = ("from", "to", "source", "destination")
WORDS = {Mood.BAD: "Problem", Mood.WARNING: "Warning", Mood.NOTE: "Note", Mood.NEUTRAL: "Note", Mood.GOOD: "Good"}
# Tables that are open from the beginning have so few rows, and in a report so few tables.
SHORT, FEW = 20, 2
_SERIOUS = tuple(WORDS)  # the most serious first
TEMPLATES = Path(__file__).with_name("report_page")
_COMMAND = re.compile(r"(\S*python\S* |\S*manage\.py |\S*django-admin )")


def to_html(report: Report, provenance: Provenance | None = None) -> str:
    """Format the report, with its preface, as one HTML page that needs no other file."""
    # Only texts reach the templates: Django would format numbers for a locale, in which SVG cannot read them.
    context = Context(shown(page_data(report, provenance)), autoescape=True, use_l10n=False)
    return _engine().get_template("page.html").render(context)


@cache
def _engine() -> Engine:
    """Return an engine of our own: projects may have no TEMPLATES, and other rules for escaping."""
    return Engine(dirs=[str(TEMPLATES)], autoescape=True)


def shown(value: Any) -> Any:
    """Return the page's data with every text made visible: nothing out of a row can forge or hide a line."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {name: shown(item) for name, item in value.items()}
    return [shown(item) for item in value] if isinstance(value, list) else value


def page_data(report: Report, provenance: Provenance | None = None) -> dict[str, Any]:
    """Return what the templates of a page show of a report, before :func:`shown` makes it safe."""
    preface, is_dry_run = report.preface, report.is_dry_run
    facts = [*report.facts, *(preface.facts if preface and is_dry_run else ())]
    assessment = report.assessment or (preface.assessment if preface and is_dry_run else None)
    # A dry run that found nothing to report itself leaves the verdict to the assessment.
    verdict = assessment.verdict if assessment and report.verdict.mood is Mood.NEUTRAL else report.verdict
    grids = _without_checks(report, assessment)
    chart = None if is_dry_run else time_chart(report, provenance.seconds if provenance else None)
    is_short = len(grids) <= FEW
    return {
        "title": assessment.title if assessment else report.title,
        "verdict": _verdict(verdict),
        "ends": _facts([fact for fact in (*facts, *(preface.facts if preface else ())) if fact.label in ENDS])[:2],
        "figures": [{**vars(figure), "mood": figure.mood.value} for figure in report.figures],
        "points": _points(_open_points(report, facts)),
        "next": [{"text": step, "is_command": bool(_COMMAND.match(step))} for step in report.next],
        "chart": chart and {**vars(chart), "bars": [vars(bar) for bar in chart.bars]},
        "facts": _facts([fact for fact in facts if fact.label not in (*ENDS, *(OF_RUN if provenance else ()))]),
        "run": provenance and _run(provenance),
        **(_assessment(assessment) if assessment else {}),
        "approval": APPROVAL if assessment and is_dry_run and report.verdict.mood is not Mood.BAD else "",
        "grids": [
            *(_grid(grid, report.title, is_open=len(grid.rows) <= SHORT) for grid in report.row_grids),
            *(_grid(grid, report.title, is_open=is_short and len(grid.rows) <= SHORT) for grid in grids),
        ],
        "preface": preface and _preface(preface, assessment, with_points=not is_dry_run),
        "written_by": WRITTEN_BY,
    }


def _without_checks(report: Report, assessment: Assessment | None) -> list[Grid]:
    """Return the tables of a report; the checks of an assessment have a section of their own."""
    return [grid for grid in report.details if assessment is None or grid is not assessment.grid]


def _verdict(verdict: Verdict) -> dict[str, str]:
    return {**vars(verdict), "mood": verdict.mood.value}


def _open_points(report: Report, facts: Sequence[Fact]) -> list[Point]:
    """Return everything that is not as it should be; a verdict that nothing else explains is a point itself."""
    preface = report.preface if report.is_dry_run else None
    points = [*report.points, *(preface.points if preface else ())]
    points += [
        Point(fact.mood, f"{fact.label.capitalize()}: {fact.value or fact.full}")
        for fact in facts
        if fact.mood in (Mood.BAD, Mood.WARNING)
    ]
    verdict = report.verdict
    if not points and verdict.mood in (Mood.BAD, Mood.WARNING):
        points.append(Point(verdict.mood, verdict.sentence))
    return points


def _facts(facts: Sequence[Fact]) -> list[dict[str, str]]:
    """Return facts as they are shown: a label once, and the longer values."""
    return [
        {"label": fact.label.capitalize(), "value": value, "mood": fact.mood.value}
        for fact in facts
        if (value := fact.full or fact.value)
    ]


def _points(points: Sequence[Point]) -> list[dict[str, Any]]:
    return [
        {
            "mood": point.mood.value,
            "word": "" if point.sentence.startswith(WORDS[point.mood]) else WORDS[point.mood],
            "sentence": point.sentence,
            "statements": list(point.statements),
        }
        for point in sorted(points, key=lambda point: _SERIOUS.index(point.mood))
        if not point.is_row
    ]


def _run(found: Provenance) -> dict[str, str]:
    started, ended = found.started.astimezone(), found.ended.astimezone()
    return {
        "started": _moment(started),
        "started_iso": started.isoformat(timespec="seconds"),
        "ended": _moment(ended),
        "ended_iso": ended.isoformat(timespec="seconds"),
        "duration": seconds_text(found.seconds),
        "user": found.user,
        "host": found.host,
        "versions": ", ".join(f"{name} {version}" for name, version in found.versions.items()),
        "command": found.command,
    }


def _moment(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S %Z}"


def _assessment(found: Assessment) -> dict[str, Any]:
    checks = sorted(found.checks, key=lambda check: _SERIOUS.index(check.mood))
    return {
        "checks": [_check(check) for check in checks],
        "checks_summary": _summary(checks),
        "worst": [_grid(found.worst)] if found.worst else [],
        "way_back": list(found.way_back),
    }


def _check(check: Check) -> dict[str, Any]:
    more = [f"{len(check.found) - SHORT:,} more."] if len(check.found) > SHORT else []
    return {**vars(check), "mood": check.mood.value, "found": [*check.found[:SHORT], *more]}


def _summary(checks: Sequence[Check]) -> str:
    counts = Counter((check.mood, check.result) for check in checks)
    parts = (
        plural(count, result) if mood is Mood.WARNING else f"{count} {result}"
        for (mood, result), count in counts.items()
    )
    return f"{plural(len(checks), 'check')}: {', '.join(parts)}."


def _preface(report: Report, assessment: Assessment | None, *, with_points: bool) -> dict[str, Any]:
    return {
        "title": report.title,
        "verdict": _verdict(report.verdict),
        "facts": _facts(report.facts),
        "points": _points(report.points) if with_points else [],
        "grids": [_grid(grid, report.title) for grid in _without_checks(report, assessment)],
    }


def _grid(grid: Grid, title: str = "", *, is_open: bool = False) -> dict[str, Any]:
    numeric = [is_numeric(grid, column) for column in range(len(grid.headers))]
    return {
        "title": grid.title or title,
        "is_open": is_open,
        "count": plural(len(grid.rows), "row"),
        "heads": [
            {"text": head, "is_number": is_number} for head, is_number in zip(grid.headers, numeric, strict=True)
        ],
        "rows": [_row(row, numeric) for row in grid.rows],
        "footer": _row(grid.footer, numeric) if grid.footer else [],
    }


def _row(row: Sequence[Cell], numeric: Sequence[bool]) -> list[dict[str, Any]]:
    """Return the cells of a row; the first one without numbers is its head."""
    head = next((column for column, is_number in enumerate(numeric) if not is_number), None)
    return [
        {"text": cell_text(value), "is_number": is_number, "is_head": column == head}
        for column, (value, is_number) in enumerate(zip(row, numeric, strict=True))
    ]
