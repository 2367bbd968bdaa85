"""What crosses the stages of every copy: options, the plan, the counts, and the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Generic, TypeVar

from ...console.command_line import option, positive_integer
from ..base import RecordProblem, digest

MAX_PROBLEMS_LISTED = 1000


@dataclass(frozen=True)
class PassOptions:
    """How a copy goes over its source: each field is an option of the commands that copy records."""

    match: str = option("", "Copy only keys that begin with PREFIX.", metavar="PREFIX")
    chunk_size: int = option(1000, "Keys in a page.", type=positive_integer, metavar="KEYS")
    limit: int | None = option(None, "Copy at most N keys, as a trial.", type=positive_integer, metavar="N")
    rate: int | None = option(None, "Read at most N keys per second.", type=positive_integer, metavar="N")
    jobs: int = option(1, "Number of parallel processes.", type=positive_integer, metavar="N")
    dry_run: bool = option(False, "Show the plan and stop; nothing is written.")

    @property
    def page_size(self) -> int:
        """How many records are read at once: with ``rate`` at most a second's, so that none waits longer to stop."""
        return self.chunk_size if self.rate is None else max(min(self.chunk_size, self.rate // self.jobs), 1)


Options = TypeVar("Options", bound=PassOptions)


@dataclass(frozen=True)
class CopyPlan(Generic[Options]):
    """What a copy would do, shown before it does anything. A count that is not known is None."""

    source: str
    dest: str
    in_source: int | None
    in_dest: int | None
    notes: tuple[str, ...]
    options: Options
    # Whether only given keys are copied.
    has_given_keys: bool = False
    # What to report if nothing was read.
    nothing_found: str = ""

    @property
    def expected(self) -> int | None:
        """How many records will be read at most, None if that is not known."""
        limit, found = self.options.limit, self.in_source
        return found if limit is None or found is None else min(limit, found)


@dataclass
class CopyCounts:
    """What was counted in a pass. Which of these counts a copy has is up to its kind; its report lists them."""

    read: int = 0
    written: int = 0
    present: int = 0
    unchanged: int = 0
    overwritten: int = 0
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
    # What the destination could not hold of records that it took, by sentence.
    losses: Counter[str] = field(default_factory=Counter)
    # Digests of keys, each with what happened to its record.
    problems: list[tuple[str, str]] = field(default_factory=list)

    def add(self, other: CopyCounts) -> None:
        """Add the counts of a share or a pass to these."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.losses += other.losses
        self.problems = [*self.problems, *other.problems][:MAX_PROBLEMS_LISTED]

    def note(self, key: str, problem: RecordProblem) -> None:
        """Count a record that was not copied, and list it by digest."""
        setattr(self, problem.count, getattr(self, problem.count) + 1)
        self.list(key, str(problem))

    def list(self, key: str, why: str) -> None:
        """List a record by digest."""
        if len(self.problems) < MAX_PROBLEMS_LISTED:
            self.problems.append((digest(key), why))

    def by_name(self, names: Iterable[str]) -> dict[str, int]:
        """Return some of the counts by name."""
        return {name: getattr(self, name) for name in names}

    @property
    def changes(self) -> int:
        """How many changes were made to the destination."""
        return self.written + self.overwritten + self.refreshed + self.removed

    @property
    def failures(self) -> int:
        """How many records should have been copied and were not."""
        return self.unreadable + self.foreign + self.unsafe + self.unfit


COUNTS = tuple(one.name for one in fields(CopyCounts) if one.type == "int")
# What every pass counts of the same records; the rest is what a pass did, and adds up.
_COUNTED_AGAIN = (
    *("read", "ended", "missed", "expired"),
    *("no_ttl", "skipped", "unreadable", "foreign", "unsafe", "unfit"),
)
# What was in the destination before: later passes find there what the first one wrote.
_COUNTED_FIRST = ("present", "unchanged")


def total_of(passes: Sequence[CopyCounts]) -> CopyCounts:
    """Return the counts of a whole copy, in which a record that several passes saw is counted once."""
    total = CopyCounts()
    for counts in passes:
        total.add(counts)
    for name in _COUNTED_AGAIN:
        setattr(total, name, max((getattr(counts, name) for counts in passes), default=0))
    for name in _COUNTED_FIRST:
        setattr(total, name, next((getattr(counts, name) for counts in passes), 0))
    total.problems = list(dict.fromkeys(total.problems))
    return total


Plan = TypeVar("Plan", bound=CopyPlan[Any])


@dataclass(frozen=True)
class CopyResult(Generic[Plan]):
    """What a copy did. ``passes`` has the counts of each pass over the source, ``total`` those of the copy."""

    plan: Plan
    passes: tuple[CopyCounts, ...] = ()
    seconds: float = 0.0
    evicted: int = 0
    is_dry_run: bool = False
    total: CopyCounts = field(default_factory=CopyCounts)
