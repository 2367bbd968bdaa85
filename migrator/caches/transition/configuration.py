"""The settings of a transition: read into two caches, and every mistake in them named before traffic meets it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.cache import CacheHandler, caches
from django.core.cache.backends.base import BaseCache, get_key_func
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from ...transitions.phases import phase_reader
from .readers import READERS, dotted_names

DEFAULTS = ("TIMEOUT", "KEY_PREFIX", "VERSION", "KEY_FUNCTION")
KEYS = ("BACKEND", "OLD", "NEW", "PHASE", "OPTIONS", *DEFAULTS)
DUMMY = "django.core.cache.backends.dummy.DummyCache"
# The options, what each may be, and its default first.
OPTIONS: Mapping[str, tuple[Any, ...]] = {"OLD_DOWN": ("miss", "raise"), "CLEAR_OLD": (False, True)}
# Options of backends with which one LOCATION may be another place.
_LEAD_ELSEWHERE = ("db", "CONNECTION_POOL_KWARGS", "SENTINELS")


@dataclass(frozen=True)
class SettingFault:
    """A mistake: the id of its system check, what was found, and what to write."""

    id: str
    found: str
    hint: str

    def __str__(self) -> str:
        return f"{self.found} {self.hint}"


def faults(name: str, entry: Mapping[str, Any], *, reads_phase: bool = True) -> Iterator[SettingFault]:
    """Find the mistakes in the entry ``name`` of CACHES, without asking any server.

    Without ``reads_phase`` a dotted path of PHASE is not followed: where it leads may fail for a while.
    """
    place = f"CACHES[{name!r}]"
    if entry.get("LOCATION"):
        yield SettingFault(
            "migrator.E021",
            f"{place} has a LOCATION.",
            "A transition has none of its own: give one to OLD and one to NEW.",
        )
    for key in sorted(set(entry) - {*KEYS, "LOCATION"}):
        yield SettingFault(
            "migrator.E025",
            f"{place} has the unknown key {key!r}.",
            f"Write one of {', '.join(KEYS)}, or leave it out.",
        )
    yield from _option_faults(place, entry.get("OPTIONS"))
    yield from _phase_faults(place, entry, reads_phase=reads_phase)
    wrong = False
    for side in ("OLD", "NEW"):
        for fault in _side_faults(place, side, entry):
            wrong = True
            yield fault
    if not wrong:
        yield from _pair_faults(place, entry)


def _option_faults(place: str, options: object) -> Iterator[SettingFault]:
    if options is not None and not isinstance(options, Mapping):
        yield SettingFault(
            "migrator.E025", f"{place}['OPTIONS'] is {options!r}.", f"Write a dictionary of {', '.join(OPTIONS)}."
        )
        return
    for key, value in (options or {}).items():
        if key not in OPTIONS:
            known = ", ".join(OPTIONS)
            yield SettingFault(
                "migrator.E025", f"{place}['OPTIONS'] has the unknown key {key!r}.", f"There are {known}."
            )
        elif value not in OPTIONS[key]:
            allowed = " or ".join(map(repr, OPTIONS[key]))
            yield SettingFault("migrator.E025", f"{place}['OPTIONS'][{key!r}] is {value!r}.", f"Write {allowed}.")


def _phase_faults(place: str, entry: Mapping[str, Any], *, reads_phase: bool) -> Iterator[SettingFault]:
    if "PHASE" not in entry:
        yield SettingFault("migrator.E026", f"{place} has no PHASE.", "Begin with 'PHASE': 'old'.")
        return
    phase = entry["PHASE"]
    is_path = isinstance(phase, str) and "." in phase
    # A callable may ask a server, and is for those who asked for it.
    if not callable(phase) and (reads_phase or not is_path):
        try:
            phase_reader(phase, name=f"{place}['PHASE']")()
        except ImproperlyConfigured as error:
            yield SettingFault(
                "migrator.E026", str(error), "Write a phase, a callable that returns one, or the dotted path of either."
            )


def _side_faults(place: str, side: str, entry: Mapping[str, Any]) -> Iterator[SettingFault]:
    where = f"{place}[{side!r}]"
    given = entry.get(side)
    if given is None:
        yield SettingFault(
            "migrator.E020", f"{place} has no {side}.", f"Write '{side}': {{...}}, a whole cache setting or an alias."
        )
        return
    if isinstance(given, str) and given not in caches.settings:
        known = ", ".join(sorted(caches.settings))
        yield SettingFault(
            "migrator.E022", f"{where} is {given!r}, which is no alias in CACHES.", f"The aliases are {known}."
        )
        return
    setting = side_setting(entry, side)
    if not isinstance(setting, Mapping) or "BACKEND" not in setting:
        yield SettingFault(
            "migrator.E022", f"{where} is no cache setting.", "Write a dictionary with BACKEND and what belongs to it."
        )
        return
    yield from _backend_faults(where, setting)


def _backend_faults(where: str, setting: Mapping[str, Any]) -> Iterator[SettingFault]:
    try:
        backend = import_string(setting["BACKEND"])
    except (ImportError, AttributeError, TypeError) as error:
        yield SettingFault(
            "migrator.E022",
            f"{where} has the BACKEND {setting['BACKEND']!r}, which cannot be imported: {error}.",
            "Mend it.",
        )
        return
    try:
        get_key_func(setting.get("KEY_FUNCTION"))
    except (ImportError, AttributeError, TypeError) as error:
        yield SettingFault(
            "migrator.E022", f"{where} has a KEY_FUNCTION that cannot be imported: {error}.", "Name another."
        )
        return
    names = set(dotted_names(backend))
    if f"{__package__}.cache.TransitionCache" in names:
        yield SettingFault(
            "migrator.E023", f"{where} is a transition itself.", "Finish one change before the next: name its NEW here."
        )
    elif DUMMY in names:
        yield SettingFault(
            "migrator.E023", f"{where} is a DummyCache, which keeps nothing.", "Where there is no cache, use it alone."
        )
    elif inspect.iscoroutinefunction(getattr(backend, "get", None)):
        yield SettingFault(
            "migrator.E023", f"{where} has asynchronous methods alone.", "Give a backend that has both kinds."
        )


def _pair_faults(place: str, entry: Mapping[str, Any]) -> Iterator[SettingFault]:
    old, new = side_setting(entry, "OLD"), side_setting(entry, "NEW")
    if kept_at(old) == kept_at(new):
        yield SettingFault(
            "migrator.E024",
            f"{place} has one place for OLD and for NEW.",
            "Give NEW another LOCATION or KEY_PREFIX: each would delete what the other has just written.",
        )
    if isinstance(entry["OLD"], str) and isinstance(entry["NEW"], str):
        for key in DEFAULTS:
            if key in entry:
                yield SettingFault(
                    "migrator.E027",
                    f"{place} has {key}, and both sides are aliases.",
                    "It would do nothing: write it in the entries that OLD and NEW name.",
                )


def kept_at(setting: Mapping[str, Any], key: str = "probe") -> tuple[Any, ...]:
    """Say where a cache keeps a key, as far as its setting tells."""
    backend = import_string(setting["BACKEND"])
    reader = next((READERS[name] for name in dotted_names(backend) if name in READERS), None)
    kind = (reader.family if reader else "") or setting["BACKEND"]
    location = setting.get("LOCATION", "")
    key_function = get_key_func(setting.get("KEY_FUNCTION"))
    raw = key_function(key, setting.get("KEY_PREFIX", ""), setting.get("VERSION", 1))
    options = setting.get("OPTIONS") or {}
    led = {name: options[name] for name in _LEAD_ELSEWHERE if name in options}
    return kind, str(location).replace("valkey://", "redis://"), str(led), raw


def side_setting(entry: Mapping[str, Any], side: str) -> Any:
    """Return the whole setting of a side: an alias's own, or what is given with the outer defaults."""
    given = entry[side]
    if isinstance(given, str):
        return caches.settings[given]
    if not isinstance(given, Mapping):
        return given
    return {**{key: entry[key] for key in DEFAULTS if key in entry}, **given}


def open_side(entry: Mapping[str, Any], side: str) -> BaseCache:
    """Open one of the caches; that of an alias is the one that everybody else gets by it."""
    if isinstance(entry[side], str):
        return caches[entry[side]]
    return CacheHandler({side: dict(side_setting(entry, side))})[side]


def option(entry: Mapping[str, Any], name: str) -> Any:
    """Return an option, or its default."""
    return (entry.get("OPTIONS") or {}).get(name, OPTIONS[name][0])


def name_of(entry: Mapping[str, Any]) -> str:
    """Return the alias whose entry this is; Django does not tell a cache its own."""
    for alias, setting in caches.settings.items():
        if all(setting.get(key) is entry.get(key) for key in ("OLD", "NEW", "PHASE")) and "OLD" in setting:
            return str(alias)
    return "default"


def check(name: str, entry: Mapping[str, Any]) -> None:
    """Raise :exc:`ImproperlyConfigured` for the first mistake."""
    for fault in faults(name, entry, reads_phase=False):
        raise ImproperlyConfigured(str(fault))
