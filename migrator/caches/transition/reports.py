"""The phase and the counts of a cache's transition, as a report of at most 20 lines."""

from __future__ import annotations

from typing import Any

from ...clock import MICROSECONDS_PER_SECOND, to_datetime
from ...console.reports import Fact, Grid, Mood, Report, Verdict
from ...console.wording import duration_text
from ...transitions.metrics_storage import EVENTS, Record
from ...transitions.phases import Phase
from .status import CacheTransition

SCHEMA = "migrator/cache-transition@1"
# What each phase does; the table is in the package's docstring.
MEANINGS = {
    Phase.OLD: "only OLD is used",
    Phase.DUAL_OLD: "OLD answers; what is written there is deleted in NEW",
    Phase.DUAL_NEW: "NEW answers, and takes over values of OLD that it lacks; writes go to both",
    Phase.NEW: "only NEW is used",
}
# What to see before the next deploy, in addition to every worker having the phase.
READY = {
    Phase.OLD: "",
    Phase.DUAL_OLD: ", NEW is filled, and shadow_error does not grow",
    Phase.DUAL_NEW: ", and neither fallback nor shadow_error grows",
    Phase.NEW: "",
}


def transition_report(found: CacheTransition) -> Report:
    """Describe the phase of a transition, and what all workers have counted."""
    grid = _grid(found.record)
    return Report(
        title=f"Transition of the cache {found.alias!r}",
        verdict=Verdict(Mood.NEUTRAL, str(found.phase).upper(), f"{found.alias!r}: {MEANINGS[found.phase]}."),
        facts=(
            Fact("OLD", found.old),
            Fact("NEW", found.new),
            Fact("workers", _seen(found.record)),
        ),
        grids=(grid,) if grid.rows else (),
        details=(grid,) if grid.rows else (),
        next=(_next_step(found),),
        document=_document(found),
    )


def _next_step(found: CacheTransition) -> str:
    following, entry = found.phase.following, f"CACHES[{found.alias!r}]"
    step = f"PHASE {str(following)!r} in {entry}" if following else f"the setting of NEW as {entry}"
    return f"when every worker has {found.phase}{READY[found.phase]}: {step}"


def _seen(record: Record) -> str:
    """Return when a worker last counted in each phase: a worker that only reads in ``old`` or ``new`` does not."""
    seen = [
        f"{phase} {duration_text((record.read_at - moment) / MICROSECONDS_PER_SECOND)} ago"
        for phase, moment in record.seen().items()
    ]
    return f"last counted in {', '.join(seen)}" if seen else "nothing is counted yet"


def _grid(record: Record) -> Grid:
    phases = [phase for phase in Phase if any(of is phase and one.number for (of, _), one in record.counts.items())]
    rows = [(event, *(_number(record, phase, event) for phase in phases)) for event in EVENTS]
    return Grid("Counts of all workers", ("event", *map(str, phases)), tuple(row for row in rows if any(row[1:])))


def _number(record: Record, phase: Phase, event: str) -> int | None:
    count = record.counts.get((phase, event))
    return None if count is None else count.number


def _document(found: CacheTransition) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "cache": found.alias,
        "phase": str(found.phase),
        "old": found.old,
        "new": found.new,
        "counts": [
            {
                "phase": str(phase),
                "event": event,
                "number": count.number,
                "since": _iso(count.since),
                "last": _iso(count.last),
            }
            for (phase, event), count in sorted(found.record.counts.items())
        ],
        "seen": {str(phase): _iso(found.record.last_seen(phase)) for phase in Phase},
        "new_decides_since": _iso(found.record.new_decides_since),
    }


def _iso(moment: int | None) -> str | None:
    return None if moment is None else to_datetime(moment).isoformat()
