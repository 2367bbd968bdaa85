"""The reports of ``session_transition`` and ``clear_old_sessions``, from their records."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

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
    Phase.OLD: "OLD alone is used.",
    Phase.DUAL_OLD: "OLD decides; what is written or ended there, is so in NEW as well.",
    Phase.DUAL_NEW: "NEW decides; what it does not have is looked for in OLD and moved, and both are written.",
    Phase.NEW: "NEW alone is used; OLD is only told of what ends.",
}
EVENT_WORDS = {
    "hit_old": "found in OLD",
    "hit_new": "found in NEW",
    "fallback": "found in OLD alone",
    "promoted": "moved to NEW when asked for",
    "miss": "found nowhere",
    "shadow_error": "errors of the store that only follows",
    "repaired": "brought into line again",
    "changed": "changed by JSON in the store that only follows",
    "unreadable": "not readable as a session",
}


def standing_report(found: Readiness) -> Report:
    """Tell how far a transition is. Exit code 3 where the step that was asked for is not safe."""
    rollout = f", for {found.rollout:g} % of the keys already dual_new" if found.rollout else ""
    heading = f"Phase {found.phase}{rollout}: {MEANING[found.phase]}"
    conditions: tuple[tuple[Cell, ...], ...] = tuple(
        ("yes" if item.is_met else "NO", item.text, item.figure) for item in found.conditions
    )
    grids = (
        Grid("Stores", ("side", "place", "live sessions"), tuple(_sides(found))),
        Grid(
            f"Counted by all workers, kept in {found.place}", ("phase", "what", "count", "last"), tuple(_counted(found))
        ),
        Grid("Workers seen", ("phase", "first", "last"), tuple(_seen(found))),
        Grid(f"{_which(found)}, {_step(found)}", ("", "needs", "found"), conditions),
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
                rows.append((phase.value, EVENT_WORDS[event], count.number, moment_text(count.last)))
    return rows or [(None, found.tally_error or "nothing yet", None, None)]


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
    if found.tally_error:
        lines.append(
            f"What the workers counted could not be read from {found.place}: {found.tally_error}. Without it no step "
            "is safe. TALLY in MIGRATOR['SESSIONS'] names another place, where the counts begin anew."
        )
    if found.was_reset:
        lines.append("What was counted has been forgotten; the counts begin anew.")
    following, previous = found.phase.following, found.phase.previous
    if found.phase is Phase.NEW:
        lines.append(f"Next:     manage.py clear_old_sessions, then {_final(found)}")
    elif following:
        lines.append(f"Next:     {_setting(found, following)}")
    if previous:
        lines.append(f"Way back: {_setting(found, previous)}")
    if previous and not found.is_back:
        lines.append("          session_transition --back judges it.")
    lines += [item.advice for item in found.conditions if item.advice and not item.is_met]
    if found.is_safe:
        lines.append(f"{_which(found)} is safe: {_step(found)}.")
    else:
        unmet = sum(not item.is_met for item in found.conditions)
        lines.append(f"{_which(found)}, {_step(found)}, is not safe: {plural(unmet, 'condition')} not met.")
    return lines


def _setting(found: Readiness, phase: Phase) -> str:
    """Spell what to deploy for a phase."""
    given = found.setting.PHASE
    if callable(given):
        return f"let the function in MIGRATOR['SESSIONS']['PHASE'] return {phase.value!r}"
    if isinstance(given, str) and "." in given:
        return f"let {given} be {phase.value!r}"
    return f'MIGRATOR["SESSIONS"]["PHASE"] = "{phase.value}"'


def _final(found: Readiness) -> str:
    """Spell the settings that need no transition any more."""
    new = found.setting.NEW
    text = f'SESSION_ENGINE = "{new.ENGINE}"'
    if new.CACHE:
        text += f', SESSION_CACHE_ALIAS = "{new.CACHE}"'
    if new.DATABASE:
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
        "tally": {"place": found.place, "error": found.tally_error, "was_reset": found.was_reset},
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
    """Tell what would be emptied, before anything is."""
    found, emptied, stays = plan.leftovers, plan.emptied, plan.stays
    rows: tuple[tuple[Cell, ...], ...] = (
        (f"live in {emptied}", found.live),
        (f"of these in {stays} as well", found.in_new),
        (f"of these ended in {stays} since", found.ended),
        ("of these nowhere else", found.lost),
        (f"live in {stays}, which stays", plan.in_new),
    )
    grids = [Grid("", ("sessions", "count"), rows)]
    if found.listed:
        title = "Sessions by the digest of their key (SHA-256, 16 digits)"
        grids.append(Grid(title, ("digest", "what"), tuple(found.listed)))
    grids += _left_out(plan)
    lines = (f"Note: {text}" for text in (*plan.notes, *plan.reasons))
    return Report(f"Empty {plan.label}\n{stays} is {plan.label_of_stays}", tuple(grids), tuple(lines))


def _left_out(plan: ClearPlan) -> list[Grid]:
    rows = tuple((key, "left out") for found in plan.hidden for key in found.digests)
    return [Grid("Left out, by the digest of the key", ("digest", "what"), rows)] if rows else []


def cleared_report(result: Cleared) -> Report:
    """Tell what was deleted.

    Exit code 4 where sessions remain: live ones, or such that the key pattern leaves out; 3 where a dry run found
    reasons against it.
    """
    plan = result.plan
    left_out = [f"{found.reason}." for found in plan.hidden]
    if result.is_dry_run:
        code = 3 if plan.reasons else 4 if left_out else 0
        verdict = "Nothing may be deleted yet." if plan.reasons else "Everything there may be deleted."
        if code == 4:
            verdict = "Everything else there may be deleted."
        lines = (*left_out, verdict)
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
    code = 4 if remaining or left_out else 0
    lines = (*left_out, _verdict(result, remaining))
    return Report(heading, (Grid("", ("sessions", "count"), rows),), lines, _clear_document(result, code), code)


def _verdict(result: Cleared, remaining: int) -> str:
    emptied = result.plan.emptied
    if remaining:
        return (
            f"{plural(remaining, 'session')} in {emptied} changed or came while it was emptied: "
            "something still writes there. Find it, and run the command again."
        )
    if hidden := sum(found.count for found in result.plan.hidden):
        return f"{emptied} is not empty: {plural(hidden, 'session')} with keys of another shape {_stay(hidden)} there."
    if result.remaining:
        return f"{emptied} was emptied; workers have saved {plural(result.remaining, 'session')} there meanwhile."
    if others := result.plan.other_keys:
        kept = f"{plural(others, 'other key')} under its prefix {_stay(others)} there"
        return f"{emptied} holds no session any more; {kept}."
    return f"{emptied} is empty."


def _stay(count: int) -> str:
    return "stays" if count == 1 else "stay"


def _clear_document(result: Cleared, code: int) -> dict[str, Any]:
    plan = result.plan
    return {
        "schema": "migrator/clear-old-sessions@1",
        "dry_run": result.is_dry_run,
        "side": plan.emptied.lower(),
        "place": plan.place,
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
