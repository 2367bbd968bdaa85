"""What crosses the stages of a cache's copy: options, the plan, and what was counted."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

from ..stores.base import digest

MAX_PROBLEMS_LISTED = 1000


@dataclass(frozen=True)
class CacheOptions:
    """How to copy. ``match``: only keys of the application that begin so; ``keys_from``: a file of keys to copy."""

    match: str = ""
    keys_from: Path | None = None
    chunk_size: int = 1000
    limit: int | None = None
    rate: int | None = None
    overwrite: bool = False
    jobs: int = 1
    dry_run: bool = False


@dataclass(frozen=True)
class CachePlan:
    """What a copy would do. ``encoding`` tells how values go over."""

    source: str
    dest: str
    in_source: int | None
    encoding: str
    notes: tuple[str, ...]
    options: CacheOptions
    # How many keys of migrator's own are left out.
    own: int = 0


@dataclass
class CacheCounts:
    """What was counted."""

    read: int = 0
    written: int = 0
    present: int = 0
    overwritten: int = 0
    refreshed: int = 0
    removed: int = 0
    expired: int = 0
    no_ttl: int = 0
    unfit: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)

    def add(self, other: CacheCounts) -> None:
        """Add the counts of a share to these."""
        for name, count in tally_counts(other).items():
            setattr(self, name, getattr(self, name) + count)
        self.problems = [*self.problems, *other.problems][:MAX_PROBLEMS_LISTED]

    def note(self, key: str, why: str) -> None:
        """Count a key that cannot be moved, and list it by digest."""
        self.unfit += 1
        if len(self.problems) < MAX_PROBLEMS_LISTED:
            self.problems.append((digest(key), why))


@dataclass(frozen=True)
class CacheResult:
    """What a copy did."""

    plan: CachePlan
    tally: CacheCounts = field(default_factory=CacheCounts)
    seconds: float = 0.0
    evicted: int = 0
    is_dry_run: bool = False


def tally_counts(tally: CacheCounts) -> dict[str, int]:
    """Return the counts of a tally by name."""
    return {item.name: getattr(tally, item.name) for item in fields(tally) if item.name != "problems"}
