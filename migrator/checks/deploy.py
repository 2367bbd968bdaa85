"""System checks of ``check --deploy`` that ask the servers of a session transition, and what its workers counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, register
from django.core.exceptions import ImproperlyConfigured

from .. import conf
from ..clock import MICROSECONDS_PER_SECOND
from ..errors import MigratorError
from ..sessions.transition.configuration import Transition, transition
from ..sessions.transition.same_store import same_by_server
from ..sessions.transition.session_metrics import session_metrics
from ..sessions.transition.step_conditions import QUIET_SECONDS, moment_text
from ..transitions.metrics_storage import Record
from ..transitions.phases import Phase, percentage_reader
from .messages import error, warning


@register("migrator", deploy=True)
def check_session_stores_differ(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check with the servers that OLD and NEW are different stores, and that all their sessions are visible."""
    try:
        if conf.load().SESSIONS is None:
            return []
        change = transition()
    except (ImproperlyConfigured, MigratorError):  # which other checks report
        return []
    try:
        problem = same_by_server(change.old, change.new)
    except Exception as failure:
        # A driver's message may contain credentials.
        found = f"OLD or NEW of MIGRATOR['SESSIONS'] does not answer ({type(failure).__name__})."
        return [warning("migrator.W050", found, "Run session_transition to see which of them.")]
    if problem is None:
        return list(_check_visibility(change))
    return [
        error(
            "migrator.E051",
            f"OLD and NEW of MIGRATOR['SESSIONS'] are not different stores: {problem}.",
            "Give NEW its own database or cache; for a cache, another KEY_PREFIX is enough.",
        )
    ]


def _check_visibility(change: Transition) -> Iterator[CheckMessage]:
    """Warn of sides in which the site's database user sees only some sessions: users of the others are logged out."""
    for name, side in (("OLD", change.old), ("NEW", change.new)):
        if reason := side.store.blind_spot():
            yield warning(
                "migrator.W051",
                f"Not all sessions of {name} in MIGRATOR['SESSIONS'] are visible: {reason}.",
                "Workers do not find the hidden ones, and the commands refuse such a store.",
            )


@register("migrator", deploy=True)
def check_no_phase_is_skipped(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Compare the phase of these settings with the one that workers were last seen in."""
    try:
        setting = conf.load().SESSIONS
        if setting is None:
            return []
        phase, record = transition().phase(), session_metrics().read()
        share = percentage_reader(setting.ROLLOUT, name="ROLLOUT")() if phase is Phase.DUAL_OLD else 0.0
    except Exception:  # other checks report mistakes; without the metrics there is nothing to compare
        return []
    if share:
        phase = Phase.DUAL_NEW  # for the keys that are rolled out
    before = _too_far(record, phase)
    if before is None:
        return []
    what = f"['ROLLOUT'] is {share:g}" if share else f"['PHASE'] is {phase.value!r}"
    return [
        error(
            "migrator.E050",
            f"MIGRATOR['SESSIONS']{what}, but workers were last seen in {before.value!r} "
            f"{moment_text(record.last_seen(before))}: this skips a phase, and sessions would be left behind.",
            f"Deploy {_between(before, phase).value!r} first, and wait until no worker is in {before.value!r} any "
            "more. If the counts are those of an earlier transition, delete them with session_transition --reset.",
        )
    ]


def _too_far(record: Record, phase: Phase) -> Phase | None:
    """Return a phase not adjacent to ``phase`` in which workers were seen last or lately; None if there is none."""
    seen = record.seen()
    latest = max(seen.values(), default=0)
    lately = record.read_at - QUIET_SECONDS * MICROSECONDS_PER_SECOND
    far = [other for other in seen if not other.may_become(phase)]
    return next((other for other in far if seen[other] == latest or seen[other] > lately), None)


def _between(before: Phase, phase: Phase) -> Phase:
    """Return the phase next to ``before`` on the way to ``phase``."""
    order = list(Phase)
    step = 1 if order.index(phase) > order.index(before) else -1
    return order[order.index(before) + step]
