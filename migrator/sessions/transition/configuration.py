"""The transition that the settings describe: its two sides, the phase of each key, and what is counted."""

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
from .metrics_place import tally_for_sessions
from .owed_ends import OwedEnds
from .same_store import one_place
from .sides import TransitionSide

logger = logging.getLogger("migrator.sessions.transition")


class Transition:
    """What all session stores of a process share."""

    def __init__(self, setting: conf.Sessions) -> None:
        self.old, self.new = TransitionSide("OLD", setting.OLD), TransitionSide("NEW", setting.NEW)
        if problem := one_place(self.old, self.new):
            raise ImproperlyConfigured(problem)
        self._read_phase = steady_phase_reader(setting.PHASE, name="MIGRATOR['SESSIONS']['PHASE']")
        self._read_share = steady_percentage_reader(setting.ROLLOUT, name="MIGRATOR['SESSIONS']['ROLLOUT']")
        self._forth = Follower(self.old, self.new, tell_change=self._tell_change)
        self._back = Follower(self.new, self.old, tell_change=self._tell_change, gives_way=True)
        self._ends = {side: OwedEnds(side) for side in (self.old, self.new)}
        self._changes_told: set[tuple[str, str]] = set()
        self.count = tally_for_sessions().count

    def phase(self, key: str | None = None) -> Phase:
        """Read the phase, that of a key where it is rolled out key by key."""
        phase = self._read_phase()
        if phase is Phase.DUAL_OLD and key is not None:
            share = self._read_share()
            if share and is_rolled_out(key, share):
                return Phase.DUAL_NEW
        return phase

    def authority(self, phase: Phase) -> TransitionSide:
        """Return the side that decides."""
        return self.new if phase.new_decides else self.old

    def shadow(self, phase: Phase) -> TransitionSide:
        """Return the side that follows."""
        return self.old if phase.new_decides else self.new

    def follower(self, authority: TransitionSide) -> Follower:
        """Return what keeps the other side at ``authority``."""
        return self._back if authority is self.new else self._forth

    def close(self) -> None:
        """Give up this thread's own connections to both sides."""
        for side in (self.old, self.new):
            side.close()

    @contextmanager
    def forgiving(self, side: TransitionSide, key: str, phase: Phase) -> Iterator[None]:
        """Log and count what goes wrong with the side that does not decide."""
        is_begun = False
        try:
            with side.savepoint():
                is_begun = True
                yield
        except Exception as error:
            if not is_begun:  # what broke the transaction before is the request's own error
                raise
            side.close()
            self.count("shadow_error", phase=phase)
            # The message of an error may hold the key, or what the session holds.
            logger.warning("%s failed for session %s: %s", side.name, digest(key), type(error).__name__)
        else:
            if made_up := self._ends[side].pay():
                self.count("repaired", made_up, phase=phase)

    def end_in(self, side: TransitionSide, key: str, phase: Phase) -> None:
        """End a session in the side that does not decide, later if it does not answer."""
        ends = self._ends[side]
        ends.owe(key)
        with self.forgiving(side, key, phase):
            side.delete(key)
            ends.forget(key)

    def has_ended(self, side: TransitionSide, key: str) -> bool:
        """Tell whether a session has ended, and ``side`` did not answer then."""
        return key in self._ends[side]

    def count_unreadable(self, side: TransitionSide, key: str, phase: Phase, error: Exception) -> None:
        """Log and count what a side holds under a session's key and cannot read as one."""
        self.count("unreadable", phase=phase)
        logger.warning("%s holds no readable session under the key of session %s: %s", side.name, digest(key), error)

    def _tell_change(self, side: TransitionSide, key: str, what: str) -> None:
        """Count that a side gets a session otherwise than it was saved; log the first of each kind."""
        self.count("changed", phase=self.phase(key))
        if (side.name, what) not in self._changes_told:
            self._changes_told.add((side.name, what))
            logger.warning("%s gets session %s %s. Others like it are only counted.", side.name, digest(key), what)


@functools.cache
def transition() -> Transition:
    """Return the transition of the settings; raise :exc:`ImproperlyConfigured` where they describe none."""
    setting = conf.load().SESSIONS
    example = "MIGRATOR = {'SESSIONS': {'OLD': {...}, 'NEW': {...}, 'PHASE': 'old'}}"
    if setting is None and settings.SESSION_ENGINE != TRANSITION:
        raise ImproperlyConfigured(
            f"There is no transition of sessions: SESSION_ENGINE is {settings.SESSION_ENGINE!r}, and "
            f"MIGRATOR['SESSIONS'] is not set. To begin one, write SESSION_ENGINE = {TRANSITION!r} and {example}."
        )
    if setting is None:
        raise ImproperlyConfigured(
            "SESSION_ENGINE is 'migrator.sessions.transition', and MIGRATOR['SESSIONS'] does not say "
            f"which stores it keeps. Write {example}."
        )
    return Transition(setting)


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "MIGRATOR" or setting.startswith(("SESSION", "CACHES", "DATABASE", "SECRET_KEY", "INSTALLED_APPS")):
        if transition.cache_info().currsize:
            transition().close()
        transition.cache_clear()


setting_changed.connect(_forget, dispatch_uid="migrator.sessions.transition")
