"""Sessions that are ended through their model: in the admin, by ``Session.objects``, by any ``delete()`` of a row.

The router sends these to the side that decides. What is deleted there ends in the other store as well, or the next
phase, or the next request in ``dual_new``, would bring it back.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.apps import apps
from django.core.signals import setting_changed
from django.db.models.signals import class_prepared, pre_delete
from django.utils import timezone

from ... import conf
from ..engines import TRANSITION, engine_class, engine_model, keeps_rows
from .after_commit import after_transactions
from .configuration import Transition, transition
from .sides import TransitionSide, is_deleted_by_a_side
from .store import SessionStore

_UID = "migrator.sessions.transition.model_deletes"
_listened: list[Any] = []


def listen() -> None:
    """Listen to the models of both sides and their proxies, and to no other: their rows are deleted one by one."""
    while _listened:
        pre_delete.disconnect(sender=_listened.pop(), dispatch_uid=_UID)
    models = _models()
    for model in apps.get_models():
        if model._meta.concrete_model in models:
            _listen_to(model)


def _listen_to(model: Any) -> None:
    pre_delete.connect(_ends, sender=model, dispatch_uid=_UID)
    _listened.append(model)


def _models() -> set[Any]:
    try:
        change = conf.load().SESSIONS
        names = {change.OLD.ENGINE, change.NEW.ENGINE} - {TRANSITION} if change else set()
        return {engine_model(engine) for engine in map(engine_class, names) if keeps_rows(engine)}
    except Exception:  # whatever is wrong with the settings: the system checks report it, once the project has started
        return set()


def _listen_to_proxy(sender: Any, **kwargs: Any) -> None:
    """Listen to a proxy that is defined once the project has started, as in a module of the admin."""
    if sender._meta.proxy and sender._meta.concrete_model in _listened:
        _listen_to(sender)


def _ends(sender: Any, instance: Any, using: str, **kwargs: Any) -> None:
    """Follow the end of a session that has not expired; what a side's engine deletes, its caller follows."""
    # Once the row is gone, Django takes the key from the instance.
    key = instance.pk
    if is_deleted_by_a_side() or _has_expired(instance, using):
        return
    change = transition()
    side = _decider(change, sender._meta.concrete_model, using, key)
    if side is not None:
        after_transactions(lambda: _end_both(side, key), change.old, change.new)


def _has_expired(instance: Any, database: str) -> bool:
    """Tell whether a row has expired; ask it where the instance was made without reading it."""
    expiry: dt.datetime | None = instance.__dict__.get("expire_date")
    if expiry is None:
        rows = type(instance)._base_manager.using(database).filter(pk=instance.pk)
        expiry = rows.values_list("expire_date", flat=True).first()
    return expiry is not None and expiry <= timezone.now()


def _decider(change: Transition, model: Any, database: str, key: str) -> TransitionSide | None:
    """Return the side whose row it was, where that side decides for the key or for all that are not rolled out.

    A row of the side that follows may be deleted to have it copied once more: the session itself goes on.
    """
    for phase in (change.phase(), change.phase(key)):
        side = change.authority(phase)
        if side.model is model and side.database == database:
            return side
    return None


def _end_both(side: TransitionSide, key: str) -> None:
    if not side.holds(key):  # else the deletion was rolled back
        SessionStore().delete(key)
        side.delete(key)  # what a cache before its rows still holds


def _listen_anew(*, setting: str, **kwargs: Any) -> None:
    if setting in ("MIGRATOR", "INSTALLED_APPS"):
        listen()


setting_changed.connect(_listen_anew, dispatch_uid=_UID)
class_prepared.connect(_listen_to_proxy, dispatch_uid=_UID)
