"""What crosses the stages of a comparison of two stores: how to compare, and what was found."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from ..console.command_line import option, positive_integer, seconds
from ..stores.base import digest
from ..stores.copying.records import MAX_PROBLEMS_LISTED
from .records import Hidden, chunk_size_option, key_regex_option, trust_pickle_option

MODES = ("quick", "full")


@dataclass(frozen=True)
class VerifyOptions:
    """How to compare: each field but ``served`` is an option of ``verify_sessions``."""

    mode: str = option(MODES[0], "quick compares existence and expiry, full also the data.", choices=MODES)
    ttl_tolerance: float | None = option(
        None,
        "How far two expiries may differ (default: the precision of the two stores).",
        type=seconds,
        metavar="SECONDS",
    )
    sample: int | None = option(None, "Compare about N sessions (default: all).", type=positive_integer, metavar="N")
    trust_pickle: bool = trust_pickle_option()
    key_regex: str | None = key_regex_option()
    chunk_size: int = chunk_size_option()
    jobs: int = option(1, "Number of parallel processes.", type=positive_integer, metavar="N")
    # Whether the mode full also compares the cache in front of the destination's table with the rows.
    served: bool = True


@dataclass
class SessionComparison:
    """What was compared and found."""

    in_source: int | None = None
    in_dest: int | None = None
    compared: int = 0
    equal: int = 0
    missing: int = 0
    extra: int = 0
    data_differs: int = 0
    expiry_differs: int = 0
    without_ttl: int = 0
    unreadable: int = 0
    # Equal text that was not signed with a key of these settings, or that their serializer cannot read.
    unreadable_alike: int = 0
    seconds: float = 0.0
    differences: list[tuple[str, str]] = field(default_factory=list)

    @property
    def found(self) -> int:
        """How many sessions differ in any way."""
        return self.missing + self.extra + self.data_differs + self.expiry_differs

    def add(self, other: SessionComparison) -> None:
        """Add the counts of a share to these."""
        for name, count in counts(other).items():
            if name not in ("in_source", "in_dest", "seconds"):
                setattr(self, name, getattr(self, name) + count)
        self.differences = [*self.differences, *other.differences][:MAX_PROBLEMS_LISTED]

    def note(self, count: str, key: str, what: str) -> None:
        """Count a difference, and list it by digest."""
        setattr(self, count, getattr(self, count) + 1)
        if len(self.differences) < MAX_PROBLEMS_LISTED:
            self.differences.append((digest(key), what))


@dataclass(frozen=True)
class VerifyResult:
    """A comparison with what was compared."""

    source: str
    dest: str
    options: VerifyOptions
    comparison: SessionComparison
    hidden: tuple[Hidden, ...] = ()
    # How many sessions the cache before the destination's table holds otherwise than its rows.
    stale: int = 0
    has_given_keys: bool = False
    # Whether the destination's keys cannot be listed, so that sessions that only it has are not found.
    is_one_sided: bool = False
    # What to report if the source has no session at all.
    nothing_found: str = ""


def counts(comparison: SessionComparison) -> dict[str, Any]:
    """Return the counts of a comparison by name."""
    return {item.name: getattr(comparison, item.name) for item in fields(comparison) if item.name != "differences"}
