"""The settings of a transition: opened as two caches, and checked for mistakes before the first request."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.cache import CacheHandler, caches
from django.core.cache.backends.base import BaseCache, get_key_func
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from ...stores import dotted_names
from ...transitions.phases import phase_reader
from .same_store import same_by_settings

DEFAULTS = ("TIMEOUT", "KEY_PREFIX", "VERSION", "KEY_FUNCTION")
KEYS = ("BACKEND", "OLD", "NEW", "PHASE", "OPTIONS", *DEFAULTS)
DUMMY = "django.core.cache.backends.dummy.DummyCache"
# The values that each option may have, its default first.
OPTIONS: Mapping[str, tuple[Any, ...]] = {"OLD_DOWN": ("miss", "raise"), "CLEAR_OLD": (False, True)}


@dataclass(frozen=True)
class SettingFault:
    """A mistake: the id of its system check, what was found, and what to write instead."""

    id: str
    found: str
    hint: str

    def __str__(self) -> str:
        return f"{self.found} {self.hint}"


def faults(name: str, entry: Mapping[str, Any], *, reads_phase: bool = True) -> Iterator[SettingFault]:
    """Yield the mistakes in the entry ``name`` of CACHES. No server is asked.

    Without ``reads_phase`` a dotted path in PHASE is not imported: what it names may fail for a while.
    """
    where = f"CACHES[{name!r}]"
    if entry.get("LOCATION"):
        yield SettingFault(
            "migrator.E021",
            f"{where} has a LOCATION.",
            "A transition has no LOCATION of its own: set it in OLD and in NEW.",
        )
    for key in sorted(set(entry) - {*KEYS, "LOCATION"}):
        yield SettingFault(
            "migrator.E025",
            f"{where} has the unknown key {key!r}.",
            f"Correct or remove it; the keys are {', '.join(KEYS)}.",
        )
    yield from _option_faults(where, entry.get("OPTIONS"))
    yield from _phase_faults(where, entry, reads_phase=reads_phase)
    of_sides = [fault for side in ("OLD", "NEW") for fault in _side_faults(where, side, entry)]
    yield from of_sides or _pair_faults(where, entry)


def _option_faults(where: str, options: object) -> Iterator[SettingFault]:
    if options is not None and not isinstance(options, Mapping):
        yield SettingFault(
            "migrator.E025",
            f"{where}['OPTIONS'] is {options!r}.",
            f"Write a dictionary; the options are {', '.join(OPTIONS)}.",
        )
        return
    for key, value in (options or {}).items():
        if key not in OPTIONS:
            is_misplaced = key in ("OLD", "NEW", "PHASE")
            hint = "Write it next to BACKEND." if is_misplaced else f"The options are {', '.join(OPTIONS)}."
            yield SettingFault("migrator.E025", f"{where}['OPTIONS'] has the unknown key {key!r}.", hint)
        elif value not in OPTIONS[key]:
            allowed = " or ".join(map(repr, OPTIONS[key]))
            yield SettingFault("migrator.E025", f"{where}['OPTIONS'][{key!r}] is {value!r}.", f"Write {allowed}.")


def _phase_faults(where: str, entry: Mapping[str, Any], *, reads_phase: bool) -> Iterator[SettingFault]:
    if "PHASE" not in entry:
        yield SettingFault("migrator.E026", f"{where} has no PHASE.", "Begin with 'PHASE': 'old'.")
        return
    phase = entry["PHASE"]
    is_path = isinstance(phase, str) and "." in phase
    # A callable may ask a server, which only the call that needs the phase should do.
    if not callable(phase) and (reads_phase or not is_path):
        try:
            phase_reader(phase, name=f"{where}['PHASE']")()
        except ImproperlyConfigured as error:
            yield SettingFault(
                "migrator.E026", str(error), "Write a phase, a callable that returns one, or the dotted path of either."
            )


def _side_faults(entry_name: str, side: str, entry: Mapping[str, Any]) -> Iterator[SettingFault]:
    where = f"{entry_name}[{side!r}]"
    given = entry.get(side)
    if given is None:
        yield SettingFault(
            "migrator.E020",
            f"{entry_name} has no {side}.",
            f"Write '{side}': {{...}} with a complete cache setting, or an alias in CACHES.",
        )
        return
    if isinstance(given, str) and given not in caches.settings:
        known = ", ".join(sorted(caches.settings))
        yield SettingFault(
            "migrator.E022", f"{where} is {given!r}, which is not an alias in CACHES.", f"The aliases are {known}."
        )
        return
    setting = side_setting(entry, side)
    if not isinstance(setting, Mapping) or "BACKEND" not in setting:
        yield SettingFault(
            "migrator.E022",
            f"{where} is not a cache setting.",
            "Write a dictionary with BACKEND and its settings.",
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
            "Correct the dotted path, or install the package.",
        )
        return
    try:
        get_key_func(setting.get("KEY_FUNCTION"))
    except (ImportError, AttributeError, TypeError) as error:
        yield SettingFault(
            "migrator.E022", f"{where} has a KEY_FUNCTION that cannot be imported: {error}.", "Correct the dotted path."
        )
        return
    names = set(dotted_names(backend))
    if f"{__package__}.cache.TransitionCache" in names:
        yield SettingFault(
            "migrator.E023",
            f"{where} is a transition itself.",
            "Finish that transition first, or name its NEW here.",
        )
    elif DUMMY in names:
        yield SettingFault(
            "migrator.E023",
            f"{where} is a DummyCache, which keeps nothing.",
            "Use it without a transition if the site needs no cache.",
        )
    elif inspect.iscoroutinefunction(getattr(backend, "get", None)):
        yield SettingFault(
            "migrator.E023",
            f"{where} has only asynchronous methods.",
            "Choose a backend that also has synchronous ones.",
        )


def _pair_faults(where: str, entry: Mapping[str, Any]) -> Iterator[SettingFault]:
    old, new = side_setting(entry, "OLD"), side_setting(entry, "NEW")
    if same_by_settings(old, new):
        yield SettingFault(
            "migrator.E024",
            f"OLD and NEW of {where} are the same store.",
            "Give NEW another LOCATION or KEY_PREFIX: each side would delete what the other has just written.",
        )
    if isinstance(entry["OLD"], str) and isinstance(entry["NEW"], str):
        for key in DEFAULTS:
            if key in entry:
                yield SettingFault(
                    "migrator.E027",
                    f"{where} has {key}, and both sides are aliases.",
                    "It has no effect here: set it in the entries that OLD and NEW name.",
                )


def side_setting(entry: Mapping[str, Any], side: str) -> Any:
    """Return the complete setting of a side: that of its alias, or its own over the outer defaults."""
    given = entry[side]
    if isinstance(given, str):
        return caches.settings[given]
    if not isinstance(given, Mapping):
        return given
    return {**{key: entry[key] for key in DEFAULTS if key in entry}, **given}


def open_side(entry: Mapping[str, Any], side: str) -> BaseCache:
    """Open a side's cache; an alias gives the same object as ``caches[alias]`` does elsewhere."""
    if isinstance(entry[side], str):
        return caches[entry[side]]
    return CacheHandler({side: dict(side_setting(entry, side))})[side]


def option(entry: Mapping[str, Any], name: str) -> Any:
    """Return an option, or its default."""
    return (entry.get("OPTIONS") or {}).get(name, OPTIONS[name][0])


def name_of(entry: Mapping[str, Any]) -> str:
    """Return the alias of an entry of CACHES: Django does not pass it to the backend."""
    for alias, setting in caches.settings.items():
        if all(setting.get(key) is entry.get(key) for key in ("OLD", "NEW", "PHASE")) and "OLD" in setting:
            return str(alias)
    return "default"


def check(name: str, entry: Mapping[str, Any]) -> None:
    """Raise :exc:`ImproperlyConfigured` for the first mistake."""
    for fault in faults(name, entry, reads_phase=False):
        raise ImproperlyConfigured(str(fault))
