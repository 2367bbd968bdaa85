"""The forecast of a move as a report: how long it is likely to take, its parts, and what no sample shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...console.reports import Cell, Fact, Figure, Grid, Mood, Point, Report, Verdict, record
from ...console.wording import duration_text, plural, seconds_text, shortened
from ..forecasting.model import Forecast, TableForecast
from ..result import RunResult
from .plan import SCHEMA, plan_document, plan_report
from .times import times_document

SHOWN_TABLES = 3
SHOWN_SECONDS = 0.05
NOT_SEEN = (
    "a cache that the whole indexes do not fit into, checkpoints and vacuuming, other load on either server, and burst "
    "credits that run out"
)


def forecast_report(result: RunResult, forecast: Forecast, again: str) -> Report:
    """Describe how long a move is likely to take; ``again`` is the command that makes it."""
    plan = result.plan
    rows = sum(table.rows for table in forecast.tables)
    what = f"{plural(rows, 'row')} of {plural(len(forecast.tables), 'table')}"
    return Report(
        title=f"Forecast: {plan.source.alias!r} to {plan.dest.alias!r}",
        verdict=Verdict(
            Mood.NEUTRAL,
            "FORECAST",
            f"{range_text(forecast.low, forecast.high)} for {what} from {plan.source.alias!r} to {plan.dest.alias!r}.",
        ),
        facts=tuple(_facts(forecast)),
        points=tuple(_points(forecast)),
        details=(_grid(forecast),),
        figures=(
            Figure("likely to take", range_text(forecast.low, forecast.high)),
            Figure("rows in the source", f"{rows:,}"),
            Figure("rows in the sample", f"{forecast.sampled_rows:,}"),
        ),
        timings=dict(result.timings),
        next=(again,),
        document={
            "schema": SCHEMA,
            "plan": plan_document(plan),
            "remark": result.remark,
            **times_document(result),
            "forecast": forecast_document(forecast),
        },
        preface=plan_report(plan),
    )


def range_text(low: float, high: float) -> str:
    """Format a range of seconds: ``19 s to 42 s``, ``2 h 10 min to 4 h 30 min``."""
    least, most = duration_text(low), duration_text(high)
    return f"{least} to {most}" if least != most else f"about {most}"


def _facts(forecast: Forecast) -> Iterator[Fact]:
    yield Fact("parts", ", ".join(_parts(forecast)))
    largest = sorted(forecast.tables, key=lambda table: -_seconds(table))
    shown = [f"{t.label} {seconds_text(_seconds(t))}" for t in largest if _seconds(t) >= SHOWN_SECONDS]
    if shown:
        yield Fact("slowest", shortened(shown, SHOWN_TABLES), ", ".join(shown))
    rows = plural(forecast.sampled_rows, "row")
    yield Fact("sample", f"{rows}, copied to {forecast.scratch!r}, whose tables are empty again")
    update = range_text(forecast.update_low, forecast.update_high)
    yield Fact(
        "stop",
        f"the site stops for all of it, or for the last pass alone: {update} if that is --update after a first copy, "
        "seconds with --follow. Each pass measures the next one exactly.",
    )
    yield Fact("not seen", NOT_SEEN)


def _parts(forecast: Forecast) -> Iterator[str]:
    yield f"plan {seconds_text(forecast.plan)}"
    yield f"rows {seconds_text(forecast.rows)}"
    if forecast.indexes >= SHOWN_SECONDS:
        saved = f" (of which {seconds_text(forecast.saved)} are saved by work in parallel)"
        yield f"indexes {seconds_text(forecast.indexes)}{saved if forecast.saved >= SHOWN_SECONDS else ''}"
    yield f"foreign keys and counts {seconds_text(forecast.keys)}"
    if forecast.compares_values:
        yield f"comparison of values {seconds_text(forecast.values)}"


def _points(forecast: Forecast) -> Iterator[Point]:
    yield from (Point(Mood.NOTE, note) for note in forecast.notes)
    if unmeasured := [table.label for table in forecast.tables if not table.is_measured]:
        yield Point(
            Mood.WARNING,
            f"No sample could be taken of {shortened(unmeasured)}: its rows cannot be found by a primary key. It is "
            "computed from the rows of other tables.",
        )


def _grid(forecast: Forecast) -> Grid:
    rows: list[tuple[Cell, ...]] = [
        (table.label, table.rows, table.sampled_rows, table.seconds_rows, table.seconds_indexes)
        for table in forecast.tables
    ]
    return Grid("Tables with rows", ("model", "rows", "sampled", "seconds", "seconds of indexes"), tuple(rows))


def _seconds(table: TableForecast) -> float:
    return table.seconds_rows + table.seconds_indexes


def forecast_document(forecast: Forecast) -> dict[str, Any]:
    """Describe the forecast for programs; times are in seconds."""
    names = ("low", "high", "plan", "rows", "indexes", "saved", "keys", "values", "update_low", "update_high")
    return {
        "scratch": forecast.scratch,
        **{name: round(getattr(forecast, name), 3) for name in names},
        "compares_values": forecast.compares_values,
        "tables": [
            {
                **record(table, "label", "table", "rows", "sampled_rows", "is_measured"),
                "seconds_rows": round(table.seconds_rows, 3),
                "seconds_indexes": round(table.seconds_indexes, 3),
            }
            for table in forecast.tables
        ],
        "notes": list(forecast.notes),
    }
