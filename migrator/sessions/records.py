"""What crosses the stages of a copy: sessions, the ends, options, and what was counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from ..stores.base import digest

MAX_PROBLEMS_LISTED = 1000
DEFAULT_CHUNK_SIZE = 2000


class SessionRecord(NamedTuple):
    """A session as its store keeps it.

    ``payload`` is signed text or a cache's raw value, ``expires`` microseconds of Unix time or None for never,
    ``more`` what a table of sessions knows beside: the user, the address, the browser, moments.
    """

    key: str
    payload: str | bytes
    expires: int | None
    more: Mapping[str, Any] | None = None


class SessionProblem(Exception):
    """A session that cannot be moved; ``count`` names the counter it belongs to, the message tells no content."""

    def __init__(self, count: str, why: str) -> None:
        super().__init__(why)
        self.count = count


@dataclass(frozen=True)
class Hidden:
    """Sessions that a place holds and does not list: how many, why with the way out, and digests of some keys."""

    count: int
    reason: str
    digests: tuple[str, ...] = ()


@dataclass(frozen=True)
class End:
    """One end of a copy: a kind (``cache``, ``db`` or ``file``), an alias, and how sessions are kept there.

    ``cache``: the alias of the cache before a table, where that is not SESSION_CACHE_ALIAS.
    """

    kind: str
    alias: str | None = None
    engine: str | None = None
    model: str | None = None
    keys_from: Path | None = None
    cache: str | None = None


@dataclass(frozen=True)
class CopyOptions:
    """How to copy.

    ``no_ttl``: what a key without time to live becomes: ``expiry-from-data``, ``skip``, ``keep`` or ``error``.
    ``catch_up``: how many more passes at most, until one finds nothing to do.
    ``manifest``: where to remember what was written, for later passes and for the one after the switch.
    ``key_regex``: what a session key looks like, as a whole; None for what the engines of both ends make.
    ``end_missed``: end also what the source has ended and the destination has changed since the switch.
    ``rate``: sessions read in a second at most.
    """

    no_ttl: str = "expiry-from-data"
    overwrite_older: bool = False
    strict: bool = False
    allow_unreadable: bool = False
    trust_pickle: bool = False
    key_regex: str | None = None
    match: str = ""
    limit: int | None = None
    chunk_size: int = DEFAULT_CHUNK_SIZE
    jobs: int = 1
    rate: int | None = None
    catch_up: int = 0
    manifest: Path | None = None
    after_switch: bool = False
    end_missed: bool = False
    dry_run: bool = False


@dataclass
class SessionCounts:
    """What was counted, in the order in which it is reported."""

    read: int = 0
    written: int = 0
    present: int = 0
    unchanged: int = 0
    refreshed: int = 0
    removed: int = 0
    ended: int = 0
    missed: int = 0
    expired: int = 0
    no_ttl: int = 0
    skipped: int = 0
    changed_by_json: int = 0
    unreadable: int = 0
    foreign: int = 0
    unsafe: int = 0
    unfit: int = 0
    losses: Counter[str] = field(default_factory=Counter)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def add(self, other: SessionCounts) -> None:
        """Add another tally's counts to these."""
        for item in fields(self):
            if item.type == "int":
                setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))
        self.losses += other.losses
        self.problems = [*self.problems, *other.problems][:MAX_PROBLEMS_LISTED]

    def note(self, key: str, problem: SessionProblem) -> None:
        """Count a session that was not moved, and list it by digest."""
        setattr(self, problem.count, getattr(self, problem.count) + 1)
        self.list(key, str(problem))

    def list(self, key: str, why: str) -> None:
        """List a session by digest."""
        if len(self.problems) < MAX_PROBLEMS_LISTED:
            self.problems.append((digest(key), why))

    @property
    def changes(self) -> int:
        """How much the destination was changed."""
        return self.written + self.refreshed + self.removed

    @property
    def failures(self) -> int:
        """How many sessions should have been moved and were not."""
        return self.unreadable + self.foreign + self.unsafe + self.unfit
