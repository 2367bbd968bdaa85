"""The transition that the settings describe: its two sides, the phase of each key, and its metrics."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from ... import conf
from ...stores.base import digest
from ...transitions.phases import Phase, is_rolled_out, steady_percentage_reader, steady_phase_reader
from ..engines import TRANSITION
from .follower import Follower
from .owed_deletions import OwedDeletions
from .same_store import same_by_settings
from .session_metrics import session_metrics
from .sides import TransitionSide

logger = logging.getLogger("migrator.sessions.transition")


class Transition:
    """What all session stores of a process share."""

    def __init__(self, setting: conf.Sessions) -> None:
        self.old, self.new = TransitionSide("OLD", setting.OLD), TransitionSide("NEW", setting.NEW)
        if problem := same_by_settings(self.old, self.new):
            raise ImproperlyConfigured(problem)
        self._read_phase = steady_phase_reader(setting.PHASE, name="MIGRATOR['SESSIONS']['PHASE']")
        self._read_share = steady_percentage_reader(setting.ROLLOUT, name="MIGRATOR['SESSIONS']['ROLLOUT']")
        self._new_follows_old = Follower(self.old, self.new, report_change=self._report_change)
        self._old_follows_new = Follower(self.new, self.old, report_change=self._report_change, gives_way=True)
        self._owed = {side: OwedDeletions(side) for side in (self.old, self.new)}
        self._changes_logged: set[tuple[str, str]] = set()
        self.count = session_metrics().count

    def phase(self, key: str | None = None) -> Phase:
        """Return the phase, or that of a key if the next phase is rolled out key by key."""
        phase = self._read_phase()
        if phase is Phase.DUAL_OLD and key is not None:
            share = self._read_share()
            if share and is_rolled_out(key, share):
                return Phase.DUAL_NEW
        return phase

    def authority(self, phase: Phase) -> TransitionSide:
        """Return the authoritative side."""
        return self.new if phase.new_decides else self.old

    def shadow(self, phase: Phase) -> TransitionSide:
        """Return the side that follows the authoritative one."""
        return self.old if phase.new_decides else self.new

    def follower(self, authority: TransitionSide) -> Follower:
        """Return what keeps the other side up to date with ``authority``."""
        return self._old_follows_new if authority is self.new else self._new_follows_old

    def close(self) -> None:
        """Close this thread's own connections to both sides."""
        for side in (self.old, self.new):
            side.close()

    @contextmanager
    def forgiving(self, side: TransitionSide, key: str, phase: Phase) -> Iterator[None]:
        """Log and count the errors of the side that is not authoritative."""
        is_entered = False
        try:
            with side.savepoint():
                is_entered = True
                yield
        except Exception as error:
            if not is_entered:  # the transaction was broken before, by an error of the request itself
                raise
            side.close()
            self.count("shadow_error", phase=phase)
            # The error's message may contain the key or the session's data.
            logger.warning("%s failed for session %s: %s", side.name, digest(key), type(error).__name__)
        else:
            if repeated := self._owed[side].repeat():
                self.count("repaired", repeated, phase=phase)

    def delete_in_shadow(self, side: TransitionSide, key: str, phase: Phase) -> None:
        """Delete a session in the side that is not authoritative; if that fails, remember it for later."""
        owed = self._owed[side]
        owed.add(key)
        with self.forgiving(side, key, phase):
            side.delete(key)
            owed.forget(key)

    def owes_deletion(self, side: TransitionSide, key: str) -> bool:
        """Whether a session was deleted while ``side`` did not answer."""
        return key in self._owed[side]

    def count_unreadable(self, side: TransitionSide, key: str, phase: Phase, error: Exception) -> None:
        """Log and count a value under a session's key that a side cannot read as a session."""
        self.count("unreadable", phase=phase)
        logger.warning("%s cannot read what it holds under the key of session %s: %s", side.name, digest(key), error)

    def _report_change(self, side: TransitionSide, key: str, what: str) -> None:
        """Count a session that a side cannot hold as it was saved; log the first one of each kind."""
        self.count("changed", phase=self.phase(key))
        if (side.name, what) not in self._changes_logged:
            self._changes_logged.add((side.name, what))
            logger.warning("%s gets session %s %s. Others like it are only counted.", side.name, digest(key), what)


@functools.cache
def transition() -> Transition:
    """Return the transition of the settings; raise :exc:`ImproperlyConfigured` if they do not describe one."""
    setting = conf.load().SESSIONS
    example = "MIGRATOR = {'SESSIONS': {'OLD': {...}, 'NEW': {...}, 'PHASE': 'old'}}"
    if setting is None and settings.SESSION_ENGINE != TRANSITION:
        raise ImproperlyConfigured(
            f"There is no transition of sessions: SESSION_ENGINE is {settings.SESSION_ENGINE!r}, and "
            f"MIGRATOR['SESSIONS'] is not set. To begin one, set SESSION_ENGINE = {TRANSITION!r} and {example}."
        )
    if setting is None:
        raise ImproperlyConfigured(
            f"SESSION_ENGINE is {TRANSITION!r}, but MIGRATOR['SESSIONS'], which describes its two stores, is not set. "
            f"Set {example}."
        )
    return Transition(setting)


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "MIGRATOR" or setting.startswith(("SESSION", "CACHES", "DATABASE", "SECRET_KEY", "INSTALLED_APPS")):
        if transition.cache_info().currsize:
            transition().close()
        transition.cache_clear()


setting_changed.connect(_forget, dispatch_uid="migrator.sessions.transition")
