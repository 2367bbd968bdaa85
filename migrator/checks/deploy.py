"""System checks of ``check --deploy``: they ask the servers of a transition, and what its workers counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

from .. import conf
from ..clock import MICROSECONDS_PER_SECOND
from ..errors import MigratorError
from ..sessions.transition.configuration import Transition, transition
from ..sessions.transition.metrics_place import tally_for_sessions
from ..sessions.transition.same_server import one_place
from ..sessions.transition.step_conditions import QUIET_SECONDS, moment_text
from ..transitions.metrics_storage import Record
from ..transitions.phases import Phase, percentage_reader


def _blind_spots(change: Transition) -> Iterator[CheckMessage]:
    """Warn of sides that show this user a part of their sessions: to a site's own connection the others are ended."""
    for name, side in (("OLD", change.old), ("NEW", change.new)):
        if reason := side.store.blind_spot():
            yield Warning(
                f"Not all sessions of {name} in MIGRATOR['SESSIONS'] can be seen: {reason}.",
                hint="A worker does not find the hidden ones. The commands refuse such a store.",
                id="migrator.W051",
            )


@register("migrator", deploy=True)
def check_places(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check with the servers that OLD and NEW are two places."""
    try:
        if conf.load().SESSIONS is None:
            return []
        change = transition()
    except (ImproperlyConfigured, MigratorError):  # which other checks tell of
        return []
    try:
        problem = one_place(change)
    except Exception as error:
        # The message of a driver may tell how it connects.
        return [
            Warning(
                f"OLD or NEW of MIGRATOR['SESSIONS'] does not answer ({type(error).__name__}).",
                hint="session_transition tells which of them.",
                id="migrator.W050",
            )
        ]
    if problem is None:
        return list(_blind_spots(change))
    return [
        Error(
            f"OLD and NEW of MIGRATOR['SESSIONS'] are not two places: {problem}.",
            hint="Give NEW a database, or a cache, of its own; of a cache another KEY_PREFIX will do.",
            id="migrator.E051",
        )
    ]


@register("migrator", deploy=True)
def check_jump(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Hold the phase of these settings against the one that workers were seen in last."""
    try:
        setting = conf.load().SESSIONS
        if setting is None:
            return []
        phase, record = transition().phase(), tally_for_sessions().read()
        share = percentage_reader(setting.ROLLOUT, name="ROLLOUT")() if phase is Phase.DUAL_OLD else 0.0
    except Exception:  # other checks tell of mistakes, and a place that does not answer tells nothing
        return []
    if share:
        phase = Phase.DUAL_NEW  # to the keys that are rolled out
    before = _too_far(record, phase)
    if before is None:
        return []
    what = f"['ROLLOUT'] is {share:g}" if share else f"['PHASE'] is {phase.value!r}"
    return [
        Error(
            f"MIGRATOR['SESSIONS']{what}, and workers were last seen in {before.value!r} "
            f"{moment_text(record.last_seen(before))}: that skips a phase, and sessions would be left behind.",
            hint=f"Deploy {_between(before, phase).value!r} first, and wait until no worker is in {before.value!r} any "
            "more. Where the counts are of an earlier change, forget them with session_transition --reset.",
            id="migrator.E050",
        )
    ]


def _too_far(record: Record, phase: Phase) -> Phase | None:
    """Return the phase of the last workers, or of some that were seen lately, if it is not next to ``phase``."""
    seen = {other: record.last_seen(other) or 0 for other in Phase}
    latest = max(seen.values())
    lately = record.read_at - QUIET_SECONDS * MICROSECONDS_PER_SECOND
    far = [other for other, moment in seen.items() if moment and not other.may_become(phase)]
    return next((other for other in far if seen[other] == latest or seen[other] > lately), None)


def _between(before: Phase, phase: Phase) -> Phase:
    """Return the phase next to ``before`` on the way to ``phase``."""
    order = list(Phase)
    step = 1 if order.index(phase) > order.index(before) else -1
    return order[order.index(before) + step]
