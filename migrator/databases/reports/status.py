"""How far a run is, as a report of about 20 lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from functools import cache
from typing import Any

from django.apps import apps

from ...console.reports import Fact, Figure, Grid, Mood, Report, Verdict, record
from ...console.wording import duration_text, plural, shortened
from ..engines.base.catalogue import kinds_text
from ..journal.records import Outcome, RunState
from ..journal.status import Activity, RunStatus, TableStatus

SCHEMA = "migrator/status@1"
SHOWN_TABLES = 4
# What a run does in each of its recorded states.
PHASES = {
    RunState.PREPARING: "dropping what is recreated later, and emptying tables",
    RunState.COPYING: "copying",
    RunState.FINISHING: "all rows are copied; recreating what was dropped, and verifying",
    RunState.FORECASTING: "copying a sample for a forecast, which is deleted afterwards",
}
UNVERIFIED = "only if verify_counts finds no difference"
ENDED = "only if the run ended with exit code 0, or verify_counts finds no difference"
# Whether the site can use the destination, as long as the run has not finished.
SWITCH = {
    Activity.NONE: "",
    Activity.WORKING: "not yet: the run has not finished",
    Activity.INTERRUPTED: "no: rows, indexes and keys may be missing until the run is completed",
}


def status_report(status: RunStatus, *, was_working: bool = False) -> Report:
    """Describe how far a run is, and how to continue one that was interrupted.

    ``was_working``: a run was seen before, so that none now means that it has ended.
    """
    is_recorded = status.activity is not Activity.NONE and status.phase is not None
    has_ended = was_working and status.activity is Activity.NONE
    facts = _facts(status) if is_recorded else [Fact("to", str(status.dest))]
    return Report(
        title=f"Run into {status.dest}",
        verdict=_ended(status) if has_ended else _verdict(status),
        facts=(*facts, Fact("switch", ENDED if has_ended else _switch_text(status))),
        figures=tuple(_figures(status)) if is_recorded else (),
        details=tuple(_grids(status)) if is_recorded else (),
        next=tuple(line.strip() for line in status.hint.splitlines()) if _is_interrupted(status) else (),
        document=status_document(status),
        exit_code=_exit_code(status),
    )


def _is_interrupted(status: RunStatus) -> bool:
    return status.activity is Activity.INTERRUPTED


def _exit_code(status: RunStatus) -> int:
    """Return 3 for an interrupted run, the exit code of a run that has finished, and otherwise 0."""
    return 3 if _is_interrupted(status) else status.outcome.exit_code if status.outcome else 0


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
        "outcome": status.outcome and asdict(status.outcome),
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _ended(status: RunStatus) -> Verdict:
    ended = f"The run in {status.dest.alias!r} has ended and left no record: it finished, was refused or was abandoned."
    return Verdict(Mood.NEUTRAL, "ENDED", ended)


def _verdict(status: RunStatus) -> Verdict:
    alias = status.dest.alias
    if status.activity is Activity.NONE:
        nothing = f"There is no run: none is working in {alias!r}, and none is unfinished there."
        return Verdict(Mood.NEUTRAL, "NO RUN", nothing)
    if status.phase is None:
        return Verdict(Mood.NEUTRAL, "WORKING", _nothing_recorded(status))
    if status.activity is Activity.FINISHED:
        return _finished(status.outcome)
    if status.activity is Activity.WORKING:
        return Verdict(Mood.GOOD, "WORKING", f"The run is working; it was last seen {_ago(status)} ago.")
    return Verdict(
        Mood.BAD,
        "INTERRUPTED",
        f"The run in {alias!r} was interrupted. Repeat its command with --resume to complete it, or with "
        "--cleanup to abandon it: that recreates what it dropped, and keeps the copied rows.",
    )


def _finished(outcome: Outcome | None) -> Verdict:
    """Say how a run has ended whose journal was kept."""
    if outcome is None:
        return Verdict(Mood.NEUTRAL, "FINISHED", "The run has finished; how it ended was not recorded.")
    if outcome.exit_code == 3:
        return Verdict(Mood.BAD, "NOT A COPY", "The run has finished, and its verification found differences.")
    if outcome.exit_code:
        return Verdict(
            Mood.WARNING, "INCOMPLETE", "The run has finished, but rows were rejected, or could not be compared."
        )
    verified = {"count": "row counts, sequences and foreign keys are right", "full": "all values are equal"}
    found = verified.get(outcome.verify, "nothing was verified (--verify none)")
    return Verdict(Mood.GOOD, "FINISHED", f"The run has finished: all rows are copied, and {found}.")


def _switch_text(status: RunStatus) -> str:
    """Say whether the site can use the destination now; empty if there is nothing to say that of."""
    if status.activity is not Activity.FINISHED:
        return SWITCH[status.activity]
    if status.outcome is None:
        return ENDED
    if status.outcome.exit_code == 3:
        return "no: it is not a copy of the source"
    if status.outcome.verify == "none":
        return UNVERIFIED
    if status.outcome.exit_code:
        return "only if the site can do without the rows that are missing"
    return "yes, unless rows of the source were written since the run began; --update copies those"


def _facts(status: RunStatus) -> Iterator[Fact]:
    yield Fact("from", str(status.source))
    yield Fact("to", str(status.dest))
    yield Fact("process", f"{status.pid} on {status.host}, started {_clock(status.started)}")
    if status.activity is Activity.INTERRUPTED:
        yield Fact("last seen", f"{_clock(status.last_seen)}, {_ago(status)} ago")
    if status.activity is not Activity.FINISHED:
        yield Fact("phase", PHASES[RunState(status.phase or "")])
        yield Fact("tables", _tables_text(status))
    yield Fact("rows", _rows_text(status))
    if status.dropped and status.activity is not Activity.FINISHED:
        yield Fact("rebuild", f"{kinds_text(status.dropped)}: dropped until the end of the run, then recreated")


def _figures(status: RunStatus) -> Iterator[Figure]:
    """Yield what readers of a page look for first."""
    if status.rows_total:
        share = f"{status.rows_read * 100 // status.rows_total} %"
        yield Figure("of the rows copied", share, f"{status.rows_read:,} of {status.rows_total:,}")
    if status.activity is not Activity.FINISHED:
        yield Figure("tables complete", f"{status.tables_done:,} of {status.tables_total:,}")
    if status.rate:
        yield Figure("rows per second", f"{status.rate:,.0f}")
    if status.seconds_left is not None:
        yield Figure("until the last row", duration_text(status.seconds_left), "at this rate")
    if status.rows_rejected:
        yield Figure("rows rejected", f"{status.rows_rejected:,}", mood=Mood.WARNING)


def _grids(status: RunStatus) -> Iterator[Grid]:
    if status.tables:
        rows = tuple(
            (_label(one.table), one.rows_read, one.rows_total, "complete" if one.is_done else "begun")
            for one in status.tables
        )
        yield Grid("Tables", ("table", "rows copied", "of", "copy"), rows)
    if status.dropped:
        dropped = tuple((_label(item.table), item.kind, item.name) for item in status.dropped)
        yield Grid("Dropped until the end of the run, then recreated", ("table", "kind", "name"), dropped)


def _nothing_recorded(status: RunStatus) -> str:
    return (
        f"A run is working in {status.dest.alias!r}, and has not recorded anything there: it checks, waits for an "
        "answer, applies migrations, updates (--update), or follows its source (--follow)."
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
        parts.append(f"about {duration_text(status.seconds_left)} left until the last row")
    return ", ".join(parts)


def _tables_text(status: RunStatus) -> str:
    begun = [_share(one) for one in status.tables if one.rows_read and not one.is_done]
    copying = f", copying {shortened(begun, SHOWN_TABLES)}" if begun and status.phase == RunState.COPYING else ""
    return f"{status.tables_done:,} of {status.tables_total:,} complete{copying}"


def _share(table: TableStatus) -> str:
    share = f" ({table.rows_read * 100 // table.rows_total} %)" if table.rows_total else ""
    return f"{_label(table.table)}{share}"


def _label(table: str) -> str:
    """Return the label of the model that has a table; the table's name if none has."""
    return _labels().get(table, table)


@cache
def _labels() -> dict[str, str]:
    """Return the label of the first model of each table: a run may have thousands, and is redrawn every second."""
    models = apps.get_models(include_auto_created=True)
    return {model._meta.db_table: model._meta.label for model in reversed(list(models))}


def _clock(moment: datetime | None) -> str:
    return "at an unknown time" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S %Z}"


def _ago(status: RunStatus) -> str:
    return duration_text((status.asked - (status.last_seen or status.asked)).total_seconds())
