"""What crosses the stages of a copy of sessions: the two ends, options, and the plan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..console.command_line import natural_number, option, positive_integer, regular_expression
from ..stores.copying.records import CopyPlan, PassOptions

DEFAULT_CHUNK_SIZE = 2000
NO_TTL = ("expiry-from-data", "skip", "keep", "error")


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


def key_regex_option() -> str | None:
    """Return the option for the pattern of keys, of all commands that list sessions."""
    return option(
        None,
        "The pattern of a whole session key (default: that of the keys that both engines create).",
        type=regular_expression,
        metavar="REGEX",
    )


def trust_pickle_option() -> bool:
    """Return the option for pickles, of the commands that read the sessions of any user."""
    return option(
        False, "Load pickles of any class. Use it only if no one else can write to the cache: a pickle can run code."
    )


def chunk_size_option() -> int:
    """Return the option for the size of a page of sessions."""
    return option(
        DEFAULT_CHUNK_SIZE,
        "Sessions per page, and so per transaction.",
        type=positive_integer,
        metavar="SESSIONS",
    )


@dataclass(frozen=True)
class CopyOptions(PassOptions):
    """How to copy: each field is an option of the commands that copy sessions."""

    chunk_size: int = chunk_size_option()
    no_ttl: str = option(
        NO_TTL[0],
        "What to do with sessions without expiry: take it from set_expiry() or the cookie age, skip them, keep them "
        "without expiry (caches only), or stop.",
        choices=NO_TTL,
    )
    overwrite_older: bool = option(
        False,
        "Overwrite sessions that the destination holds in an older state (default: leave existing ones unchanged).",
    )
    strict: bool = option(False, "Stop at the first session that JSON would change.")
    allow_unreadable: bool = option(False, "Start even if none of the first sessions can be read.")
    trust_pickle: bool = trust_pickle_option()
    key_regex: str | None = key_regex_option()
    follow_up: Path | None = option(
        None,
        "Follow the source from run to run, with what was written recorded in FILE as digests: until the switch, "
        "repeat passes until one changes nothing; after it, make the last pass. The site's settings show which is due.",
        type=Path,
        metavar="FILE",
    )
    catch_up: int = option(
        0,
        "Repeat the pass over the source, up to N times, until one finds nothing to do.",
        type=natural_number,
        metavar="N",
    )
    manifest: Path | None = option(
        None,
        "Record in FILE, as digests, what was written, so that later passes follow changes and logouts. --follow-up "
        "does so, and chooses the passes.",
        type=Path,
        metavar="FILE",
    )
    after_switch: bool = option(
        False,
        "The last pass, with the same --manifest, after all traffic uses the destination: copies what the others "
        "missed, and leaves what was created, changed or deleted there.",
    )
    end_missed: bool = option(
        False,
        "After the switch: also delete sessions that were deleted in the source and changed in the destination "
        "since, by workers that used both at the switch (default: count and list them).",
    )


@dataclass(frozen=True)
class SessionPlan(CopyPlan[CopyOptions]):
    """What a copy would do, and which sessions of the source it would not see."""

    hidden: tuple[Hidden, ...] = ()
    # Whether the source may hold sessions without expiry.
    may_lack_expiry: bool = True

    @property
    def expected(self) -> int | None:
        return None if self.options.match else super().expected
