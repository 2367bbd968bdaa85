"""What crosses the stages of a copy of sessions: the two ends, options, and the plan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..stores.copying.records import CopyPlan, PassOptions

DEFAULT_CHUNK_SIZE = 2000


@dataclass(frozen=True)
class Hidden:
    """Sessions that a store holds and does not list: how many, why with the way out, and digests of some keys."""

    count: int
    reason: str
    digests: tuple[str, ...] = ()


@dataclass(frozen=True)
class End:
    """One end of a copy: a kind (``cache``, ``db`` or ``file``), an alias, and how sessions are stored there.

    ``cache``: the alias of the cache in front of a table, if it is not SESSION_CACHE_ALIAS.
    """

    kind: str
    alias: str | None = None
    engine: str | None = None
    model: str | None = None
    keys_from: Path | None = None
    cache: str | None = None


@dataclass(frozen=True)
class CopyOptions(PassOptions):
    """How to copy.

    ``no_ttl``: what becomes of a key without time to live: ``expiry-from-data``, ``skip``, ``keep`` or ``error``.
    ``key_regex``: what a session key looks like, as a whole; None for what the engines of both ends make.
    ``catch_up``: how many more passes at most, until one finds nothing to do.
    ``manifest``: where to note what was written, for later passes and for the one after the switch.
    ``end_missed``: also end what the source has ended and the destination has changed since the switch.
    """

    chunk_size: int = DEFAULT_CHUNK_SIZE
    no_ttl: str = "expiry-from-data"
    overwrite_older: bool = False
    strict: bool = False
    allow_unreadable: bool = False
    trust_pickle: bool = False
    key_regex: str | None = None
    catch_up: int = 0
    manifest: Path | None = None
    after_switch: bool = False
    end_missed: bool = False


@dataclass(frozen=True)
class SessionPlan(CopyPlan[CopyOptions]):
    """What a copy would do, and which sessions of the source it would not see."""

    hidden: tuple[Hidden, ...] = ()
