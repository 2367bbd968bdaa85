"""A deploy that would skip a phase, as a system check of ``check --deploy``: it reads what the workers counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register

from .. import conf
from ..caches.stores.base import MICROSECONDS
from ..phases import Phase, percentage_reader
from ..tally_places import Record
from .conditions import QUIET_SECONDS, moment_text
from .tallying import tally_for_sessions
from .transition.configuration import transition


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
    lately = record.read_at - QUIET_SECONDS * MICROSECONDS
    far = [other for other, moment in seen.items() if moment and not other.may_become(phase)]
    return next((other for other in far if seen[other] == latest or seen[other] > lately), None)


def _between(before: Phase, phase: Phase) -> Phase:
    """Return the phase next to ``before`` on the way to ``phase``."""
    order = list(Phase)
    step = 1 if order.index(phase) > order.index(before) else -1
    return order[order.index(before) + step]
