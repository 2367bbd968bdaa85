"""Sessions that are deleted through their model: in the admin, by ``Session.objects``, by any ``delete()`` of a row.

The router sends these to the authoritative side. A session that is deleted there is deleted in the other store as well;
otherwise the next phase, or the next request in ``dual_new``, would bring it back.
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
    """Connect to the models of both sides and their proxies only: Django deletes their rows one by one then."""
    while _listened:
        pre_delete.disconnect(sender=_listened.pop(), dispatch_uid=_UID)
    models = _models()
    for model in apps.get_models():
        if model._meta.concrete_model in models:
            _listen_to(model)


def _listen_to(model: Any) -> None:
    pre_delete.connect(_mirror_delete, sender=model, dispatch_uid=_UID)
    _listened.append(model)


def _models() -> set[Any]:
    try:
        change = conf.load().SESSIONS
        names = {change.OLD.ENGINE, change.NEW.ENGINE} - {TRANSITION} if change else set()
        return {engine_model(engine) for engine in map(engine_class, names) if keeps_rows(engine)}
    except Exception:  # a mistake in the settings is reported by the system checks, after the project has started
        return set()


def _listen_to_proxy(sender: Any, **kwargs: Any) -> None:
    """Connect to a proxy that is defined after the project has started, as in an admin module."""
    if sender._meta.proxy and sender._meta.concrete_model in _listened:
        _listen_to(sender)


def _mirror_delete(sender: Any, instance: Any, using: str, **kwargs: Any) -> None:
    """Delete a live session in the other side too; what a side's engine deletes is mirrored by its caller."""
    # After the deletion Django sets the instance's primary key to None.
    key = instance.pk
    if is_deleted_by_a_side() or _has_expired(instance, using):
        return
    change = transition()
    side = _authority(change, sender._meta.concrete_model, using, key)
    if side is not None:
        after_transactions(lambda: _delete_in_both(side, key), change.old, change.new)


def _has_expired(instance: Any, database: str) -> bool:
    """Whether a row has expired; the row is read if the instance was created without reading it."""
    expiry: dt.datetime | None = instance.__dict__.get("expire_date")
    if expiry is None:
        rows = type(instance)._base_manager.using(database).filter(pk=instance.pk)
        expiry = rows.values_list("expire_date", flat=True).first()
    return expiry is not None and expiry <= timezone.now()


def _authority(change: Transition, model: Any, database: str, key: str) -> TransitionSide | None:
    """Return the side whose row it was, if that side is authoritative for the key or for keys not rolled out.

    A row of the side that follows may be deleted so that it is copied again: the session itself stays.
    """
    for phase in (change.phase(), change.phase(key)):
        side = change.authority(phase)
        if side.model is model and side.database == database:
            return side
    return None


def _delete_in_both(side: TransitionSide, key: str) -> None:
    if not side.holds(key):  # otherwise the deletion was rolled back
        SessionStore().delete(key)
        side.delete(key)  # the entry in a cache before its rows


def _listen_again(*, setting: str, **kwargs: Any) -> None:
    if setting in ("MIGRATOR", "INSTALLED_APPS"):
        listen()


setting_changed.connect(_listen_again, dispatch_uid=_UID)
class_prepared.connect(_listen_to_proxy, dispatch_uid=_UID)
