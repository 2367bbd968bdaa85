"""The session store over two stores."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.contrib.sessions.backends.base import VALID_KEY_CHARS, CreateError, SessionBase, UpdateError
from django.utils import timezone
from django.utils.crypto import get_random_string

from ...stores.base import Record, RecordProblem
from ...transitions.phases import Phase
from ..codec import Data, UnreadableSession
from ..engines import ANY_KEY
from .after_commit import after_transactions, run_after_ended_transactions
from .configuration import Transition, transition
from .sides import TransitionSide

# Cookies hold what browsers send. No store has a key that does not match this, so none is asked for one.
_POSSIBLE = re.compile(ANY_KEY)
_ATTEMPTS_AT_A_KEY = 1000
_ATTEMPTS_AT_A_DELETION = 5


class SessionStore(SessionBase):
    """A session in OLD, in NEW, or in both, depending on the phase, which is read for each operation.

    The coroutines are those of the base class: each runs the whole method in one thread.
    """

    def __init__(self, session_key: str | None = None, user_agent: str | None = None, ip: str | None = None) -> None:
        super().__init__(session_key)
        self.user_agent, self.ip = user_agent, ip
        self._engines: dict[TransitionSide, Any] = {}

    def _engine(self, side: TransitionSide) -> Any:
        """Return the side's own session object, in the state of this one."""
        engine = self._engines.get(side)
        if engine is None:
            engine = self._engines[side] = side.instance(self.session_key, self.user_agent, self.ip)
        engine._session_key = self.session_key
        engine.moment = None
        if "_session_cache" in self.__dict__:
            engine._session_cache = self._session_cache
        else:
            engine.__dict__.pop("_session_cache", None)
        return engine

    def _adopt(self, engine: Any) -> None:
        """Take over the state of a side's own session object."""
        self._session_key = engine.session_key
        self.modified = self.modified or engine.modified
        if "_session_cache" in engine.__dict__:
            self._session_cache = engine._session_cache

    @classmethod
    def get_model_class(cls) -> Any:
        """Return the model of the authoritative side, or else of the other; None if neither has a table."""
        change = transition()
        phase = change.phase()
        return change.authority(phase).model or change.shadow(phase).model

    def get_session_cookie_age(self) -> int:
        change = transition()
        age: int = self._engine(change.authority(change.phase(self.session_key))).get_session_cookie_age()
        return age

    # Load

    def load(self) -> Data:
        run_after_ended_transactions()
        change, phase = transition(), self._phase()
        if not self._is_possible():
            return self._missed(change, phase)
        side = change.authority(phase)
        engine = self._engine(side)
        data: Data | None
        if phase.is_dual:
            data = self._read(change, phase, side, engine)
            self.modified = self.modified or engine.modified
        else:
            data = self._loaded(engine, engine.load())
        if data is None and phase is Phase.DUAL_NEW:
            return self._load_from_old(change, phase)
        if data is None:
            return self._missed(change, phase)
        change.count("hit_new" if phase.new_decides else "hit_old", phase=phase)
        return data

    def _read(self, change: Transition, phase: Phase, side: TransitionSide, engine: Any) -> Data | None:
        """Return a side's session; a value that the side cannot decode is counted and treated as missing."""
        try:
            return side.read(engine)
        except (RecordProblem, UnreadableSession) as error:
            change.count_unreadable(side, str(self.session_key), phase, error)
            return None

    def _loaded(self, engine: Any, data: Data) -> Data | None:
        """Return what an engine loaded, None for no session; some engines replace an expired one by a new one."""
        self.modified = self.modified or engine.modified
        self._session_key = engine.session_key
        return data if self.session_key else None

    def _phase(self) -> Phase:
        return transition().phase(self.session_key)

    def _is_possible(self) -> bool:
        return bool(_POSSIBLE.fullmatch(self.session_key or ""))

    def _missed(self, change: Transition, phase: Phase) -> Data:
        """Forget a key without a session: the next save creates another."""
        change.count("miss", phase=phase)
        self._session_key = None
        return {}

    def _load_from_old(self, change: Transition, phase: Phase) -> Data:
        """Look in OLD for what NEW does not have, and move it."""
        key, found = str(self.session_key), None
        if change.owes_deletion(change.old, key):
            return self._missed(change, phase)
        with change.forgiving(change.old, key, phase):
            found = change.old.fetch(key)
            if found is None:
                return self._missed(change, phase)
        if found is None:
            # OLD does not answer. The key is kept, so that the session is found again when OLD is back.
            return {}
        data = self._promote(change, phase, found)
        if data is None:
            return self._missed(change, phase)
        change.count("fallback", phase=phase)
        change.count("hit_old", phase=phase)
        return data

    def _promote(self, change: Transition, phase: Phase, found: Record) -> Data | None:
        """Move a session from OLD to NEW unchanged; return its data, None if it was deleted meanwhile."""
        follower = change.follower(change.old)
        new = None
        with change.forgiving(change.new, found.key, phase):
            new = follower.convert(found)
            if new is None:
                return None
        if new is None:  # it does not fit into NEW
            return self._data_of_old(change, phase, found)
        if not change.new.store.add([new]):
            return self._data_of_new(change, phase, found)
        change.count("promoted", phase=phase)
        held: Record | None = found

        def check_again() -> None:
            nonlocal held
            with change.forgiving(change.old, found.key, phase):
                held, repairs = follower.settle(found, new)
                self._count_repairs(change, phase, repairs)

        check_again()
        if change.new.transactions:
            after_transactions(check_again, change.new)
        return None if held is None else self._data_of_old(change, phase, held)

    def _data_of_old(self, change: Transition, phase: Phase, found: Record) -> Data | None:
        try:
            return change.old.data_of(found)
        except RecordProblem as error:
            change.count_unreadable(change.old, found.key, phase, error)
            return None

    def _data_of_new(self, change: Transition, phase: Phase, found: Record) -> Data | None:
        """Return NEW's session under a key, or OLD's if NEW cannot decode its own, until a save overwrites that."""
        try:
            return change.new.read(self._engine(change.new))
        except (RecordProblem, UnreadableSession):
            return self._data_of_old(change, phase, found)

    # Save

    def create(self) -> None:
        phase = transition().phase()
        if not phase.is_dual:
            engine = self._engine(transition().authority(phase))
            engine.create()
            self._adopt(engine)
            return
        for _ in range(_ATTEMPTS_AT_A_KEY):
            self._session_key = self._new_key(phase)
            try:
                self.save(must_create=True)
            except CreateError:
                continue
            self.modified = True
            return
        raise RuntimeError("Unable to create a new session key. It is likely that the store is unavailable.")

    def _new_key(self, phase: Phase) -> str:
        """Return a key from the authoritative side's engine; the save finds out whether it is taken."""
        side = transition().authority(phase)
        if side.makes_stock_keys:
            return get_random_string(32, VALID_KEY_CHARS)
        return str(self._engine(side)._get_new_session_key())

    def save(self, must_create: bool = False) -> None:
        if self.session_key is None:
            return self.create()
        run_after_ended_transactions()
        change, phase = transition(), self._phase()
        self._get_session(no_load=must_create)  # type: ignore[attr-defined]
        self._check_key()
        authority = change.authority(phase)
        engine = self._engine(authority)
        engine.moment = timezone.now()
        is_saved = authority.insert(engine) if must_create else authority.update(engine)
        self.modified = self.modified or engine.modified
        if is_saved and phase.is_dual:
            self._mirror(change, phase, self._held(authority, engine), must_create)
        elif not is_saved and must_create:
            raise CreateError
        elif not is_saved and not (phase is Phase.DUAL_NEW and self._save_from_old(change, phase, engine)):
            raise UpdateError
        return None

    def _check_key(self) -> None:
        if self.session_key is None:  # the session to be saved does not exist any more
            raise UpdateError

    def _held(self, side: TransitionSide, engine: Any) -> Record:
        known = {"user_agent": self.user_agent, "ip": self.ip}
        more = {name: value for name, value in known.items() if value is not None}
        return side.saved(engine)._replace(more=more)

    def _mirror(self, change: Transition, phase: Phase, held: Record, is_new: bool) -> None:
        if change.old.transactions or change.new.transactions:
            self._mirror_later(change, phase, held.key, held.more)
        elif is_new:
            self._follow_new_key(change, phase, held)
        else:
            self._follow(change, phase, held)

    def _follow(self, change: Transition, phase: Phase, held: Record) -> None:
        with change.forgiving(change.shadow(phase), held.key, phase):
            repairs = change.follower(change.authority(phase)).write(held)
            self._count_repairs(change, phase, repairs)

    def _count_repairs(self, change: Transition, phase: Phase, repairs: int) -> None:
        if repairs:
            change.count("repaired", repairs, phase=phase)

    def _follow_new_key(self, change: Transition, phase: Phase, held: Record) -> None:
        """Write a new key. No other worker knows it, so none can have deleted it: no second check is needed."""
        shadow, is_taken = change.shadow(phase), False
        with change.forgiving(shadow, held.key, phase):
            new = change.follower(change.authority(phase)).convert(held)
            is_taken = new is not None and not shadow.store.add([new])
        if is_taken:
            change.authority(phase).delete(held.key)
            raise CreateError

    def _save_from_old(self, change: Transition, phase: Phase, engine: Any) -> bool:
        """Save to NEW a session that NEW lacks but OLD still has; return whether OLD had it."""
        key, has_it, still_has_it = str(self.session_key), False, True
        with change.forgiving(change.old, key, phase):
            has_it = not change.owes_deletion(change.old, key) and change.old.holds(key)
        if not has_it:
            return False
        if not change.new.insert(engine) and not change.new.update(engine):
            return False
        held = self._held(change.new, engine)
        with change.forgiving(change.old, key, phase):
            new = change.follower(change.new).convert(held)
            still_has_it = new is None or change.old.store.update(new)
            if not still_has_it:
                change.new.store.discard([held])
        if still_has_it:
            change.count("promoted", phase=phase)
            self._follow(change, phase, held)
        return still_has_it

    def _mirror_later(self, change: Transition, phase: Phase, key: str, more: Mapping[str, Any] | None) -> None:
        """Make the shadow equal to the authority after the transactions that are open."""

        def mirror() -> None:
            with change.forgiving(change.shadow(phase), key, phase):
                held = change.authority(phase).fetch(key)
                if held is None:
                    self._delete_in_shadow(change, phase, key)
                else:
                    held = held._replace(more={**(held.more or {}), **(more or {})})
                    repairs = change.follower(change.authority(phase)).write(held)
                    self._count_repairs(change, phase, repairs)

        after_transactions(mirror, change.old, change.new)

    # Delete

    def delete(self, session_key: str | None = None) -> None:
        key = self.session_key if session_key is None else session_key
        if key is None or not _POSSIBLE.fullmatch(key):
            return
        run_after_ended_transactions()
        change = transition()
        phase = change.phase(key)
        change.authority(phase).delete(key)
        if change.old.transactions or change.new.transactions:
            self._mirror_later(change, phase, key, None)
        else:
            self._delete_in_shadow(change, phase, key)

    def _delete_in_shadow(self, change: Transition, phase: Phase, key: str) -> None:
        """Delete in the shadow what was deleted in the authority; again if another worker restored it meanwhile.

        A session left in the side that is not authoritative would be back after the next change of phase.
        """
        authority, shadow = change.authority(phase), change.shadow(phase)
        for _ in range(_ATTEMPTS_AT_A_DELETION):
            change.delete_in_shadow(shadow, key, phase)
            # Workers in `old` write to OLD alone, and only overwrite what is there.
            if phase is Phase.OLD or not authority.holds(key):
                return
            authority.delete(key)

    def exists(self, session_key: str) -> bool:
        if not _POSSIBLE.fullmatch(session_key or ""):
            return False
        change = transition()
        phase = change.phase(session_key)
        found = bool(self._engine(change.authority(phase)).exists(session_key))
        if not found and phase is Phase.DUAL_NEW:
            with change.forgiving(change.old, session_key, phase):
                found = bool(self._engine(change.old).exists(session_key))
        return found

    @classmethod
    def clear_expired(cls) -> None:
        change = transition()
        phase = change.phase()
        with change.forgiving(change.shadow(phase), "", phase):
            change.shadow(phase).engine.clear_expired()
        change.authority(phase).engine.clear_expired()
