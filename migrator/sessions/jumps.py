"""A deploy that would skip a phase, as a system check of ``check --deploy``: it reads what the workers counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register

from .. import conf
from ..phases import Phase
from ..tally_places import Record
from .tallying import tally_for_sessions
from .transition.configuration import transition


@register("migrator", deploy=True)
def check_jump(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Hold the phase of these settings against the one that workers were seen in last."""
    try:
        if conf.load().SESSIONS is None:
            return []
        phase, record = transition().phase(), tally_for_sessions().read()
    except Exception:  # other checks tell of mistakes, and a place that does not answer tells nothing
        return []
    before = _last_seen(record)
    if before is None or before.may_become(phase):
        return []
    return [
        Error(
            f"MIGRATOR['SESSIONS']['PHASE'] is {phase.value!r}, and workers were last seen in {before.value!r}: "
            "that skips a phase, and sessions would be left behind.",
            hint=f"Deploy {_between(before, phase).value!r} first. Where the counts are of an earlier change, forget "
            "them with session_transition --reset.",
            id="migrator.E050",
        )
    ]


def _last_seen(record: Record) -> Phase | None:
    last = {phase: record.last_seen(phase) or 0 for phase in Phase}
    found = max(last, key=lambda phase: last[phase])
    return found if last[found] else None


def _between(before: Phase, phase: Phase) -> Phase:
    """Return the phase next to ``before`` on the way to ``phase``."""
    order = list(Phase)
    step = 1 if order.index(phase) > order.index(before) else -1
    return order[order.index(before) + step]
