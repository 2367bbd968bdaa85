"""The reports of ``session_transition`` and ``clear_old_sessions``, from their records."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.db import DEFAULT_DB_ALIAS

from ...clock import to_datetime
from ...console.reports import Cell, Grid, Report
from ...console.wording import plural
from ...transitions.metrics_storage import EVENTS
from ...transitions.phases import Phase
from ..comparison import counts
from .clear_store import Cleared, ClearPlan
from .readiness import Readiness
from .step_conditions import UNKNOWN, moment_text

MEANING = {
    Phase.OLD: "only OLD is used; logouts are mirrored to NEW.",
    Phase.DUAL_OLD: "OLD is authoritative; writes and logouts are mirrored to NEW.",
    Phase.DUAL_NEW: "NEW is authoritative; sessions only in OLD are moved when read; writes and logouts are mirrored.",
    Phase.NEW: "only NEW is used; logouts are mirrored to OLD.",
}
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
    rollout = f" ({found.rollout:g} % of the keys are in dual_new already)" if found.rollout else ""
    heading = f"Phase {found.phase}{rollout}: {MEANING[found.phase]}"
    conditions: tuple[tuple[Cell, ...], ...] = tuple(
        ("yes" if item.is_met else "NO", item.text, item.figure) for item in found.conditions
    )
    grids = (
        Grid("Stores", ("side", "store", "live sessions"), tuple(_sides(found))),
        Grid(
            f"Counted by all workers, stored in {found.metrics_location}",
            ("phase", "event", "count", "last"),
            tuple(_counted(found)),
        ),
        Grid("Workers seen", ("phase", "first", "last"), tuple(_seen(found))),
        Grid(f"{_which(found)}, {_step(found)}", ("", "condition", "found"), conditions),
    )
    code = 0 if found.is_safe else 3
    return Report(heading, grids, tuple(_lines(found)), _document(found, code), code)


def _sides(found: Readiness) -> list[tuple[Cell, ...]]:
    return [(side.name, side.error or side.label, side.sessions) for side in found.sides]


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


def _lines(found: Readiness) -> list[str]:
    lines = [f"Note: {note}" for note in found.notes]
    if found.metrics_error:
        lines.append(
            f"The workers' counts could not be read from {found.metrics_location}: {found.metrics_error}. Without them "
            "no step is safe. TALLY in MIGRATOR['SESSIONS'] can name another store, where the counts start at 0."
        )
    if found.was_reset:
        lines.append("The counts were deleted; they start again at 0.")
    following, previous = found.phase.following, found.phase.previous
    if found.phase is Phase.NEW:
        lines.append(f"Next:     manage.py clear_old_sessions, then {_final(found)}")
    elif following:
        lines.append(f"Next:     {_setting(found, following)}")
    if previous:
        lines.append(f"Way back: {_setting(found, previous)}")
    if previous and not found.is_back:
        lines.append("          session_transition --back checks whether it is safe.")
    lines += [item.advice for item in found.conditions if item.advice and not item.is_met]
    if found.is_safe:
        lines.append(f"{_which(found)} is safe: {_step(found)}.")
    else:
        unmet = sum(not item.is_met for item in found.conditions)
        lines.append(f"{_which(found)}, {_step(found)}, is not safe: {plural(unmet, 'condition')} not met.")
    return lines


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
    grids = [Grid("", ("sessions", "count"), rows)]
    if found.listed:
        title = "Sessions by the digest of their key (SHA-256, 16 digits)"
        grids.append(Grid(title, ("digest", "why"), tuple(found.listed)))
    grids += _skipped(plan)
    lines = (f"Note: {text}" for text in (*plan.notes, *plan.reasons))
    return Report(f"Empty {plan.label}\n{stays} is {plan.label_of_stays}", tuple(grids), tuple(lines))


def _skipped(plan: ClearPlan) -> list[Grid]:
    rows = tuple((key, "skipped") for found in plan.hidden for key in found.digests)
    return [Grid("Skipped, by the digest of the key", ("digest", "what"), rows)] if rows else []


def cleared_report(result: Cleared) -> Report:
    """Return the report on what was deleted.

    Its exit code is 4 if sessions remain, live ones or some that do not match the key pattern, and 3 if a dry run found
    reasons not to delete.
    """
    plan = result.plan
    skipped = [f"{found.reason}." for found in plan.hidden]
    if result.is_dry_run:
        code = 3 if plan.reasons else 4 if skipped else 0
        verdict = "Nothing may be deleted yet." if plan.reasons else "Everything there may be deleted."
        if code == 4:
            verdict = "Everything else there may be deleted."
        lines = (*skipped, verdict)
        return Report("Dry run: nothing was deleted.", (), lines, _clear_document(result, code), code)
    emptied, stays = plan.emptied, plan.stays
    rows: tuple[tuple[Cell, ...], ...] = (
        (f"live in {emptied} before", plan.leftovers.live),
        ("deleted", result.removed),
        ("expired, deleted", result.expired),
        (f"live in {emptied} now", result.remaining),
        (f"live in {stays} before", plan.in_new),
        (f"live in {stays} now", result.in_new),
    )
    heading = f"Deleted {plural(result.removed + result.expired, 'session')} in {result.seconds:.1f} s"
    remaining = 0 if plan.is_followed else result.remaining or 0
    code = 4 if remaining or skipped else 0
    lines = (*skipped, _verdict(result, remaining))
    return Report(heading, (Grid("", ("sessions", "count"), rows),), lines, _clear_document(result, code), code)


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
