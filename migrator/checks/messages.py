"""System check messages, each with its id, what was found, and a hint."""

from __future__ import annotations

from collections.abc import Mapping

from django.core.checks import CheckMessage, Error, Warning

# What each check finds, as the documentation lists it; code marked as in Markdown. An id is never used again for
# something else.
PROBLEMS: Mapping[str, str] = {
    "migrator.E001": "`MIGRATOR` is not a dictionary.",
    "migrator.E002": "`MIGRATOR` has an unknown key.",
    "migrator.E003": "`PROTECTED` is not a list of aliases.",
    "migrator.E004": "`PROTECTED` names an alias that is not in `DATABASES`.",
    "migrator.E005": "`CHUNK_SIZE` is not a positive integer.",
    "migrator.E006": "`RETRY_FOR` is not a number of seconds.",
    "migrator.E007": "`LINK_TIMEOUT` is not a positive integer of seconds.",
    "migrator.E008": "`MOVES`, or a move in it, is not a dictionary, lacks a key or has an unknown or invalid one.",
    "migrator.E009": "A move names an alias that is not in `DATABASES`, one alias twice, or a protected destination.",
    "migrator.E010": "A move names an app or model that is not installed.",
    "migrator.E011": "`EXECUTORS`, or an executor in it, is not a dictionary, lacks a key or has an unknown one.",
    "migrator.W001": "Django is newer than any that migrator was tested on.",
    "migrator.E020": "A `TransitionCache` without `OLD` or `NEW`.",
    "migrator.E021": "A `TransitionCache` with a `LOCATION`, which only its sides have.",
    "migrator.E022": "A side of it is not an alias or a cache setting, or cannot be imported.",
    "migrator.E023": (
        "A side that is not supported: another transition, a `DummyCache`, a backend that only has asynchronous "
        "methods."
    ),
    "migrator.E024": "Both sides are the same store.",
    "migrator.E025": "An unknown key or option of a `TransitionCache`.",
    "migrator.E026": "Its `PHASE` is missing or invalid.",
    "migrator.E027": "A default for both sides although both are aliases, so that it would have no effect.",
    "migrator.E028": "With `--deploy`: the servers report that both sides are the same store.",
    "migrator.W020": "With `--deploy`: a side does not answer.",
    "migrator.W021": "A side is a separate cache in each process.",
    "migrator.W022": "OLD does not report the time to live of its values, so they are served and not promoted.",
    "migrator.W023": "A side hides failed writes (`IGNORE_EXCEPTIONS`).",
    "migrator.W024": (
        "A side is a table in a database with `ATOMIC_REQUESTS` and no models: while it is down, every request fails."
    ),
    "migrator.W025": (
        "The sides differ only in `VERSION`: `incr_version()` and calls with `version=` would lose values, and fail."
    ),
    "migrator.W026": (
        "Both sides are in one database, table or directory, separated by `KEY_PREFIX` or `VERSION`: `clear()` of "
        "either empties both."
    ),
    "migrator.E030": "`SESSIONS`, or a side of it, is not a dictionary, lacks a key or has an unknown one.",
    "migrator.E031": "SESSION_ENGINE is `migrator.sessions.transition`, but `SESSIONS` is not set.",
    "migrator.E032": "`DATABASE` is not an alias.",
    "migrator.E033": "`CACHE` is not an alias.",
    "migrator.E034": (
        "An engine that does not exist, keeps nothing on the server, is this one, does not use the named database "
        "or cache, or cannot be this side."
    ),
    "migrator.E035": (
        "Both sides are the same store under any aliases, or may be: two sides with one model both need `DATABASE`."
    ),
    "migrator.E036": (
        "A cache that is separate in each process, keeps nothing, or does not report the time to live of its keys."
    ),
    "migrator.E037": "`PHASE` is invalid.",
    "migrator.E038": "`ROLLOUT` is invalid.",
    "migrator.E039": "`TALLY` is invalid.",
    "migrator.E040": "A memcached that hides failed deletions of sessions (`ignore_exc`).",
    "migrator.E041": "A cache before a table uses the same session keys as the other side.",
    "migrator.W030": "`SESSIONS` is set but SESSION_ENGINE does not use it.",
    "migrator.W031": (
        "The sessions of OLD cannot be listed, so they cannot be copied, and can only expire or be moved one by one."
    ),
    "migrator.W032": "A cache that drops sessions above a small MAX_ENTRIES.",
    "migrator.W033": "`ROLLOUT` in a phase where it has no effect.",
    "migrator.W034": "A cache with `IGNORE_EXCEPTIONS`, which hides no failure while it is a side.",
    "migrator.W035": (
        "`ATOMIC_REQUESTS` on the database of a side that holds no other model: while it is down, every request fails."
    ),
    "migrator.E050": (
        "With `--deploy`: the phase of `SESSIONS`, or of the keys that `ROLLOUT` includes, is two steps from the "
        "one in which workers were last seen, or seen in the last five minutes."
    ),
    "migrator.E051": (
        "With `--deploy`: the servers report that both sides of `SESSIONS`, or the caches before their tables, are "
        "the same store."
    ),
    "migrator.W050": "With `--deploy`: a side of `SESSIONS` does not answer.",
    "migrator.W051": (
        "With `--deploy`: row-level security, or one node of a cluster, may hide sessions of a side of `SESSIONS`."
    ),
}


def error(id: str, found: str, hint: str | None = None) -> CheckMessage:
    """Return an error, which stops every management command."""
    return Error(found, hint=hint, id=_known(id))


def warning(id: str, found: str, hint: str) -> CheckMessage:
    """Return a warning, which stops nothing."""
    return Warning(found, hint=hint, id=_known(id))


def _known(id: str) -> str:
    if id not in PROBLEMS:
        raise KeyError(f"{id} is not in PROBLEMS.")
    return id
