"""Sessions that are ended through their model: in the admin, by ``Session.objects``, by any ``delete()`` of a row.

The router sends these to the side that decides. What is deleted there ends in the other store as well, or the next
phase, or the next request in ``dual_new``, would bring it back.
"""

from __future__ import annotations

from typing import Any

from django.core.signals import setting_changed
from django.db.models.signals import post_delete
from django.utils import timezone

from ... import conf
from ..engines import TRANSITION, engine_class, engine_model, keeps_rows
from .configuration import Transition, transition
from .postponing import after_transactions
from .sides import Side, is_deleted_by_a_side
from .store import SessionStore

_UID = "migrator.sessions.transition.model_ends"
_listened: list[Any] = []


def listen() -> None:
    """Listen to the models of both sides, and to no other: whoever has a listener is deleted row by row."""
    while _listened:
        post_delete.disconnect(sender=_listened.pop(), dispatch_uid=_UID)
    for model in _models():
        post_delete.connect(_ended, sender=model, dispatch_uid=_UID)
        _listened.append(model)


def _models() -> set[Any]:
    try:
        change = conf.load().SESSIONS
        names = {change.OLD.ENGINE, change.NEW.ENGINE} - {TRANSITION} if change else set()
        engines = [engine_class(name) for name in names]
    except Exception:  # whatever is wrong with the settings: the system checks report it, once the project has started
        return set()
    return {engine_model(engine) for engine in engines if keeps_rows(engine)}


def _ended(sender: Any, instance: Any, using: str, **kwargs: Any) -> None:
    """Follow the end of a session that had not expired; what a side's engine deletes, its caller follows."""
    if is_deleted_by_a_side() or instance.expire_date <= timezone.now():
        return
    change = transition()
    side = _decider(change, sender, using, instance.session_key)
    if side is not None:
        after_transactions(lambda: _end_both(side, instance.session_key), change.old, change.new)


def _decider(change: Transition, model: Any, database: str, key: str) -> Side | None:
    """Return the side whose row it was, where that side decides for the key or for all that are not rolled out.

    A row of the side that follows may be deleted to have it copied once more: the session itself goes on.
    """
    for phase in (change.phase(), change.phase(key)):
        side = change.authority(phase)
        if side.model is model and side.database == database:
            return side
    return None


def _end_both(side: Side, key: str) -> None:
    if not side.holds(key):  # else the deletion was rolled back
        SessionStore().delete(key)
        side.delete(key)  # what a cache before its rows still holds


def _listen_anew(*, setting: str, **kwargs: Any) -> None:
    if setting in ("MIGRATOR", "INSTALLED_APPS"):
        listen()


setting_changed.connect(_listen_anew, dispatch_uid=_UID)
