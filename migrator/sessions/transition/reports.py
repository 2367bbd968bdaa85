"""The reports of ``session_transition`` and ``clear_old_sessions``, from their records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from django.db import DEFAULT_DB_ALIAS

from ...clock import to_datetime
from ...console.reports import Cell, Fact, Grid, Mood, Point, Report, Verdict
from ...console.wording import plural, seconds_text
from ...stores.copying.reports import BY_DIGEST, SHOWN_DIGESTS, digest_grids
from ...transitions.metrics_storage import EVENTS
from ...transitions.phases import Phase
from ..comparison import counts
from .clear_store import Cleared, ClearPlan
from .readiness import Readiness
from .step_conditions import UNKNOWN, Condition, moment_text

MEANING = {
    Phase.OLD: "only OLD is used; logouts are mirrored to NEW.",
    Phase.DUAL_OLD: "OLD is authoritative; writes and logouts are mirrored to NEW.",
    Phase.DUAL_NEW: "NEW is authoritative; sessions only in OLD are moved when read; writes and logouts are mirrored.",
    Phase.NEW: "only NEW is used; logouts are mirrored to OLD.",
}
NOT_OPENED = (
    "OLD and NEW are not opened for this page. session_transition counts and compares their sessions, and reports "
    "whether a step is safe."
)
EVENT_LABELS = {
    "hit_old": "found in OLD",
    "hit_new": "found in NEW",
    "fallback": "found only in OLD",
    "promoted": "moved to NEW when read",
    "miss": "not found",
    "shadow_error": "errors of the store that only follows",
    "repaired": "repaired",
    "changed": "changed by JSON in the store that only follows",
    "unreadable": "not readable as a session",
}


def readiness_report(found: Readiness) -> Report:
    """Return the report on a transition. Its exit code is 3 if the step that was judged is not safe."""
    code = 0 if found.is_safe else 3
    step = f"{_which(found)}, {_step(found)}"
    return Report(
        title=f"Transition of sessions in phase {found.phase}",
        verdict=_readiness_verdict(found),
        facts=tuple(_facts(found)),
        # Counts that are deleted now are shown for the last time.
        grids=(*_short_grids(found, step), *([_counted_grid(found)] if found.was_reset else [])),
        points=tuple(_points(found)),
        details=(
            _conditions_grid(found, step, found.conditions),
            _counted_grid(found),
            Grid("Workers seen", ("phase", "first", "last"), tuple(_seen(found))),
        ),
        next=_next_steps(found),
        document=_document(found, code),
        exit_code=code,
    )


def standing_report(found: Readiness) -> Report:
    """Return the report on a transition whose stores were not opened: no step is judged."""
    return Report(
        title="Transition of sessions",
        verdict=Verdict(Mood.NEUTRAL, str(found.phase).upper(), f"Phase {found.phase}: {MEANING[found.phase]}"),
        facts=(
            Fact("OLD", found.setting.OLD.ENGINE),
            Fact("NEW", found.setting.NEW.ENGINE),
            *(fact for fact in _facts(found) if fact.label == "phase" and found.rollout),
        ),
        points=(*_points(found), Point(Mood.NOTE, NOT_OPENED)),
        details=(
            _conditions_grid(
                found, f"Conditions of the next step, {_step(found)}, that the counts show", found.conditions
            ),
            _counted_grid(found),
            Grid("Workers seen", ("phase", "first", "last"), tuple(_seen(found))),
        ),
    )


def _conditions_grid(found: Readiness, title: str, conditions: Sequence[Condition]) -> Grid:
    """Return the conditions with what was found; the errors of stores are among the facts already, and long."""
    errors = {side.error for side in found.sides}
    figures = ("the error above" if item.figure in errors else item.figure for item in conditions)
    rows = tuple(
        ("yes" if item.is_met else "NO", item.text, figure) for item, figure in zip(conditions, figures, strict=True)
    )
    return Grid(title, ("", "condition", "found"), rows)


def _short_grids(found: Readiness, step: str) -> tuple[Grid, ...]:
    """Return the conditions that are not met; if all are, those whose figure is not among the facts."""
    if found.is_safe:
        labels = {side.label for side in found.sides}
        return (_conditions_grid(found, step, [item for item in found.conditions if item.figure not in labels]),)
    unmet = [item for item in found.conditions if not item.is_met]
    of_all = plural(len(found.conditions), "condition")
    title = f"{step}: {len(unmet)} of {of_all} not met (-v 2 lists all)"
    return (_conditions_grid(found, title, unmet),)


def _readiness_verdict(found: Readiness) -> Verdict:
    if found.is_safe:
        return Verdict(Mood.GOOD, "SAFE", f"{_which(found)} is safe: {_step(found)}.")
    unmet = plural(sum(not item.is_met for item in found.conditions), "condition")
    sentence = f"{_which(found)}, {_step(found)}, is not safe: {unmet} not met."
    return Verdict(Mood.WARNING, "NOT SAFE", sentence)


def _facts(found: Readiness) -> Iterator[Fact]:
    rollout = f" ({found.rollout:g} % of the keys are in dual_new already)" if found.rollout else ""
    yield Fact("phase", f"{found.phase}{rollout}: {MEANING[found.phase]}")
    for side in found.sides:
        live = "sessions not counted" if side.sessions is None else f"{side.sessions:,} live sessions"
        yield Fact(side.name, side.error or f"{side.label}: {live}", mood=Mood.BAD if side.error else Mood.NEUTRAL)
    if previous := found.phase.previous:
        check = "" if found.is_back else " (session_transition --back checks whether it is safe)"
        yield Fact("way back", f"{_setting(found, previous)}{check}")


def _counted_grid(found: Readiness) -> Grid:
    title = f"Counted by all workers, stored in {found.metrics_location}"
    return Grid(title, ("phase", "event", "count", "last"), tuple(_counted(found)))


def _counted(found: Readiness) -> list[tuple[Cell, ...]]:
    rows: list[tuple[Cell, ...]] = []
    for phase in Phase:
        for event in EVENTS:
            count = found.record.counts.get((phase, event))
            if count is not None and count.number:
                rows.append((phase.value, EVENT_LABELS[event], count.number, moment_text(count.last)))
    return rows or [(None, found.metrics_error or "nothing yet", None, None)]


def _seen(found: Readiness) -> list[tuple[Cell, ...]]:
    record = found.record
    return [
        (phase.value, moment_text(record.first_seen(phase)), moment_text(record.last_seen(phase)))
        for phase in Phase
        if record.first_seen(phase) is not None
    ] or [(None, UNKNOWN, UNKNOWN)]


def _which(found: Readiness) -> str:
    return "The step back" if found.is_back else "The next step"


def _step(found: Readiness) -> str:
    if found.is_back:
        return f"to {found.phase.previous or found.setting.OLD.ENGINE}"
    following = found.phase.following
    return "clear_old_sessions" if following is None else f"to {following}"


def _points(found: Readiness) -> Iterator[Point]:
    if found.metrics_error:
        yield Point(
            Mood.BAD,
            f"The workers' counts could not be read from {found.metrics_location}: {found.metrics_error}. Without them "
            "no step is safe. TALLY in MIGRATOR['SESSIONS'] can name another store, where the counts start at 0.",
            stays=True,
        )
    if found.was_reset:
        yield Point(Mood.WARNING, "The counts were deleted; they start again at 0.", stays=True)
    for item in found.conditions:
        if item.advice and not item.is_met:
            yield Point(Mood.WARNING, item.advice)
    yield from (Point(Mood.NOTE, note) for note in found.notes)


def _next_steps(found: Readiness) -> tuple[str, ...]:
    following, previous = found.phase.following, found.phase.previous
    if found.is_back:
        steps = [_setting(found, previous) if previous else f'SESSION_ENGINE = "{found.setting.OLD.ENGINE}"']
    elif following:
        steps = [_setting(found, following)]
    else:
        steps = ["python manage.py clear_old_sessions", f"then {_final(found)}"]
    if not found.is_safe:
        steps[0] = f"when every condition is met: {steps[0]}"
    return tuple(steps)


def _setting(found: Readiness, phase: Phase) -> str:
    """Return what to deploy for a phase."""
    given = found.setting.PHASE
    if callable(given):
        return f"make the function in MIGRATOR['SESSIONS']['PHASE'] return {phase.value!r}"
    if isinstance(given, str) and "." in given:
        return f"make {given} return {phase.value!r}"
    return f'MIGRATOR["SESSIONS"]["PHASE"] = "{phase.value}"'


def _final(found: Readiness) -> str:
    """Return the settings after the transition."""
    new = found.setting.NEW
    text = f'SESSION_ENGINE = "{new.ENGINE}"'
    if new.CACHE:
        text += f', SESSION_CACHE_ALIAS = "{new.CACHE}"'
    if new.DATABASE and new.DATABASE != DEFAULT_DB_ALIAS:
        text += f', MIGRATOR["SESSION_DATABASE"] = "{new.DATABASE}" for the router'
    return text


def _iso(moment: int | None) -> str | None:
    return None if moment is None else f"{to_datetime(moment):%Y-%m-%dT%H:%M:%S.%fZ}"


def _document(found: Readiness, code: int) -> dict[str, Any]:
    record = found.record
    return {
        "schema": "migrator/session-transition@1",
        "phase": found.phase,
        "rollout": found.rollout,
        "sides": [asdict(side) for side in found.sides],
        "tally": {"place": found.metrics_location, "error": found.metrics_error, "was_reset": found.was_reset},
        "counts": [
            {
                "phase": phase,
                "event": event,
                "number": count.number,
                "since": _iso(count.since),
                "last": _iso(count.last),
            }
            for (phase, event), count in record.counts.items()
        ],
        "seen": {phase: [_iso(record.first_seen(phase)), _iso(record.last_seen(phase))] for phase in Phase},
        "new_decides_since": _iso(record.new_decides_since),
        "comparison": counts(found.comparison) if found.comparison else None,
        "following": found.phase.following,
        "step": "back" if found.is_back else "next",
        "conditions": [asdict(item) for item in found.conditions],
        "notes": list(found.notes),
        "is_safe": code == 0,
    }


def clear_plan_report(plan: ClearPlan) -> Report:
    """Return the report on what would be deleted, before anything is."""
    found, emptied, stays = plan.leftovers, plan.emptied, plan.stays
    rows: tuple[tuple[Cell, ...], ...] = (
        (f"live in {emptied}", found.live),
        (f"of these also in {stays}", found.in_new),
        (f"of these deleted in {stays} since", found.ended),
        ("of these nowhere else", found.lost),
        (f"live in {stays}, which stays", plan.in_new),
    )
    grid = Grid("", ("sessions", "count"), rows)
    short, full = (digest_grids(BY_DIGEST, ("digest", "why"), found.listed, shown) for shown in (SHOWN_DIGESTS, None))
    return Report(
        title=f"Empty {emptied}",
        verdict=Verdict(Mood.NEUTRAL, "PLAN", f"Empty {plan.label}."),
        facts=(Fact("stays", f"{stays} is {plan.label_of_stays}"),),
        grids=(grid, *short, *_skipped(plan, SHOWN_DIGESTS)),
        points=tuple(Point(Mood.NOTE, text) for text in (*plan.notes, *plan.reasons)),
        details=(grid, *full, *_skipped(plan)),
    )


def _skipped(plan: ClearPlan, shown: int | None = None) -> list[Grid]:
    rows = [(key, "skipped") for found in plan.hidden for key in found.digests]
    return digest_grids("Skipped, by the digest of the key", ("digest", "what"), rows, shown)


def cleared_report(result: Cleared, again: str = "the same command without --dry-run") -> Report:
    """Return the report on what was deleted; ``again`` repeats a dry run in earnest.

    Its exit code is 4 if sessions remain, live ones or some that do not match the key pattern, and 3 if a dry run found
    reasons not to delete.
    """
    plan = result.plan
    skipped = tuple(Point(Mood.WARNING, f"{found.reason}.", stays=True) for found in plan.hidden)
    if result.is_dry_run:
        code = 3 if plan.reasons else 4 if skipped else 0
        return Report(
            title=f"Dry run of emptying {plan.emptied}",
            verdict=_dry_verdict(code),
            points=skipped,
            next=() if code == 3 else (again,),
            document=_clear_document(result, code),
            exit_code=code,
        )
    emptied, stays = plan.emptied, plan.stays
    rows: tuple[tuple[Cell, ...], ...] = (
        (f"live in {emptied} before", plan.leftovers.live),
        ("deleted", result.removed),
        ("expired, deleted", result.expired),
        (f"live in {emptied} now", result.remaining),
        (f"live in {stays} before", plan.in_new),
        (f"live in {stays} now", result.in_new),
    )
    remaining = 0 if plan.is_followed else result.remaining or 0
    code = 4 if remaining or skipped else 0
    word = "NOT EMPTY" if code else "DONE"
    deleted = f"{plural(result.removed + result.expired, 'session')} in {seconds_text(result.seconds)}"
    grids = (Grid("", ("sessions", "count"), rows),)
    return Report(
        title=f"Emptying of {emptied}",
        verdict=Verdict(Mood.WARNING if code else Mood.GOOD, word, _verdict(result, remaining)),
        facts=(Fact("deleted", deleted),),
        grids=grids,
        points=skipped,
        details=grids,
        document=_clear_document(result, code),
        exit_code=code,
    )


def _dry_verdict(code: int) -> Verdict:
    if code == 3:
        return Verdict(Mood.WARNING, "DRY RUN", "Nothing was deleted. Nothing may be deleted yet.")
    what = "Everything else there may be deleted." if code == 4 else "Everything there may be deleted."
    return Verdict(Mood.WARNING if code else Mood.NEUTRAL, "DRY RUN", f"Nothing was deleted. {what}")


def _verdict(result: Cleared, remaining: int) -> str:
    emptied = result.plan.emptied
    if remaining:
        return (
            f"{plural(remaining, 'session')} in {emptied} changed or appeared while it was emptied: "
            "something still writes there. Find it, and run the command again."
        )
    if hidden := sum(found.count for found in result.plan.hidden):
        return f"{emptied} is not empty: {plural(hidden, 'session')} with keys of another form {_remain(hidden)} there."
    if result.remaining:
        return f"{emptied} was emptied; workers have saved {plural(result.remaining, 'session')} there since."
    if others := result.plan.other_keys:
        kept = f"{plural(others, 'other key')} under its prefix {_remain(others)} there"
        return f"{emptied} no longer holds any session; {kept}."
    return f"{emptied} is empty."


def _remain(count: int) -> str:
    return "remains" if count == 1 else "remain"


def _clear_document(result: Cleared, code: int) -> dict[str, Any]:
    plan = result.plan
    return {
        "schema": "migrator/clear-old-sessions@1",
        "dry_run": result.is_dry_run,
        "side": plan.emptied.lower(),
        "place": plan.store,
        "old": plan.old,
        "new": plan.new,
        "reasons": list(plan.reasons),
        "other_keys": plan.other_keys,
        "hidden": [
            {"sessions": found.count, "why": found.reason, "digests": list(found.digests)} for found in plan.hidden
        ],
        "leftovers": {name: getattr(plan.leftovers, name) for name in ("live", "in_new", "ended", "lost")},
        "listed": [{"digest": key, "what": why} for key, why in plan.leftovers.listed],
        "removed": result.removed,
        "expired": result.expired,
        "remaining": result.remaining,
        "in_new_before": plan.in_new,
        "in_new_after": result.in_new,
        "is_allowed": code != 3,
    }
