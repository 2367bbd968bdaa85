"""How far a run is, as a report of at most 20 lines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.apps import apps

from ...console.reports import Report, record
from ...console.wording import plural, shortened
from ..engines.base.catalogue import kinds_text
from ..journal.records import RunState
from ..journal.status import Activity, RunStatus, TableStatus

SCHEMA = "migrator/status@1"
SHOWN_TABLES = 4
# What a run does in each of its recorded states.
PHASES = {
    RunState.PREPARING: "dropping what is recreated later, and emptying tables",
    RunState.COPYING: "copying",
    RunState.FINISHING: "all rows are copied; recreating what was dropped, and verifying",
}
# Not 0 if somebody has to act.
EXIT_CODES = {Activity.NONE: 0, Activity.WORKING: 0, Activity.FINISHED: 0, Activity.INTERRUPTED: 3}


def status_report(status: RunStatus) -> Report:
    """Describe how far a run is, and how to continue one that was interrupted."""
    lines = tuple(_lines(status))
    return Report(f"Run into {status.dest}", (), lines, status_document(status), EXIT_CODES[status.activity])


def status_line(status: RunStatus) -> str:
    """Describe how far a run that works is, in one line for a log."""
    if status.phase is None:
        return _nothing_recorded(status)
    return f"{PHASES[RunState(status.phase)]}: {_tables_text(status)}, {_rows_text(status)}"


def status_document(status: RunStatus) -> dict[str, Any]:
    """Describe how far a run is for programs."""
    return {
        "schema": SCHEMA,
        "dest": record(status.dest, "alias", "engine", "database", "host"),
        "status": str(status.activity),
        **record(status, "phase", "source", "host", "pid"),
        **{name: _iso(getattr(status, name)) for name in ("started", "last_seen", "asked")},
        **record(status, "rows_total", "rows_read", "rows_written", "rows_rejected"),
        "rows_per_second": None if status.rate is None else round(status.rate, 1),
        "seconds_left": None if status.seconds_left is None else round(status.seconds_left, 1),
        **record(status, "tables_total", "tables_done"),
        "tables": [
            {"label": _label(one.table), **record(one, "table", "rows_total", "rows_read", "is_done")}
            for one in status.tables
        ],
        "dropped": [record(item, "table", "kind", "name") for item in status.dropped],
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _lines(status: RunStatus) -> Iterator[str]:
    alias = status.dest.alias
    if status.activity is Activity.NONE:
        yield f"There is no run: none is working in {alias!r}, and none is unfinished there."
        return
    if status.phase is None:
        yield _nothing_recorded(status)
        return
    yield f"Source: {status.source}"
    yield f"Made by process {status.pid} on {status.host}, started {_clock(status.started)}."
    if status.activity is Activity.FINISHED:
        yield f"Copied: {_rows_text(status)}."
        yield "Finished. The run has kept its journal (--keep-journal); the next one replaces it."
        return
    yield f"Phase: {PHASES[RunState(status.phase)]}."
    yield f"Rows: {_rows_text(status)}."
    yield f"Tables: {_tables_text(status)}."
    if status.dropped:
        yield f"Dropped until the end of the run, then recreated: {kinds_text(status.dropped)}."
    if status.activity is Activity.WORKING:
        yield f"The run is working; it was last seen {_ago(status)} ago."
    else:
        yield f"Last seen {_clock(status.last_seen)}, {_ago(status)} ago."
        yield (
            f"The run in {alias!r} was interrupted. Repeat its command with --resume to complete it, or with --cleanup "
            "to abandon it: that recreates what it dropped, and keeps the copied rows."
        )


def _nothing_recorded(status: RunStatus) -> str:
    return (
        f"A run is working in {status.dest.alias!r}, and has not recorded anything there: it checks, waits for an "
        "answer, applies migrations, or updates (--update)."
    )


def _rows_text(status: RunStatus) -> str:
    parts = [plural(status.rows_read, "row")]
    if status.rows_total:
        parts = [f"{status.rows_read:,} of {status.rows_total:,} ({status.rows_read * 100 // status.rows_total} %)"]
    if status.rows_rejected:
        parts.append(f"{status.rows_rejected:,} rejected")
    if status.rate:
        parts.append(f"{status.rate:,.0f} rows/s")
    if status.seconds_left is not None:
        parts.append(f"about {_duration(status.seconds_left)} left until the last row")
    return ", ".join(parts)


def _tables_text(status: RunStatus) -> str:
    begun = [_share(one) for one in status.tables if not one.is_done]
    copying = f", copying {shortened(begun, SHOWN_TABLES)}" if begun and status.phase == RunState.COPYING else ""
    return f"{status.tables_done:,} of {status.tables_total:,} complete{copying}"


def _share(table: TableStatus) -> str:
    share = f" ({table.rows_read * 100 // table.rows_total} %)" if table.rows_total else ""
    return f"{_label(table.table)}{share}"


def _label(table: str) -> str:
    """Return the label of the model that has a table; the table's name if none has."""
    labels = (
        model._meta.label for model in apps.get_models(include_auto_created=True) if model._meta.db_table == table
    )
    return next(labels, table)


def _clock(moment: datetime | None) -> str:
    return "at an unknown time" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S %Z}"


def _ago(status: RunStatus) -> str:
    return _duration((status.asked - (status.last_seen or status.asked)).total_seconds())


def _duration(seconds: float) -> str:
    """Format a duration in its two largest units: ``9 s``, ``4 min 10 s``, ``3 h 20 min``, ``2 d 5 h``."""
    whole = max(round(seconds), 0)
    for large, small, names in ((86400, 3600, ("d", "h")), (3600, 60, ("h", "min")), (60, 1, ("min", "s"))):
        if whole >= large:
            return f"{whole // large} {names[0]} {whole % large // small} {names[1]}"
    return f"{whole} s"
