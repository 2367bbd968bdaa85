"""What every place of sessions can be asked; the answers here are the safe ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...console.private_files import given_lines
from ...errors import Refused
from ...stores.base import WHOLE, Share
from ..codec import Codec, Data, UnreadableSession, codec_for
from ..records import SessionProblem, SessionRecord

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase


class Store:
    """Sessions in one place, many at a time. Nothing here loads a session through its engine: that may write."""

    # Whether payloads are signed text, which any engine of equal salt and keys reads.
    keeps_text = True
    can_list_keys = True
    can_share = True
    keeps_forever = False
    # Whether some sessions do not fit in.
    has_size_limit = False
    # What the place knows beside key, data and expiry.
    roles: frozenset[str] = frozenset()

    def __init__(self, *, engine: SessionBase, keys_from: Path | None = None) -> None:
        self.engine = engine
        self._keys_from = keys_from
        self._codec: Codec | None = None
        # What the place cannot hold of a session that it otherwise takes, counted by sentence.
        self.losses: Counter[str] = Counter()
        # Keys that were listed and left out: they begin as this engine's sessions do, and do not look like one.
        self.hidden: set[str] = set()

    @property
    def codec(self) -> Codec:
        """The reader and writer of this place's text."""
        if self._codec is None:
            self._codec = codec_for(self.engine)
        return self._codec

    @property
    def has_given_keys(self) -> bool:
        """Whether only the sessions of ``--keys-from`` are read."""
        return self._keys_from is not None

    @property
    def can_open_again(self) -> bool:
        """Whether the place can be opened a second time, in another thread."""
        return True

    def close(self) -> None:
        """Give up connections that are ours alone."""

    # What it is

    def label(self) -> str:
        """Name the place for people, without a password."""
        raise NotImplementedError

    def identities(self) -> frozenset[str]:
        """Name the physical place with all that keeps its sessions apart from others' there."""
        raise NotImplementedError

    def databases(self) -> frozenset[str]:
        """Name the databases that are written to where sessions are written here, by alias."""
        return frozenset()

    def count(self) -> int | None:
        """Count the sessions that have not expired; None where that is not known beforehand."""
        return None

    def capacity(self) -> int | None:
        """Return how many entries fit in before the place drops others, None where it does not count."""
        return None

    def held(self) -> int:
        """Return how many entries are held against the capacity, sessions or not."""
        return 0

    def blind_spot(self) -> str | None:
        """Return why not every session here can be seen, and what to do; None if all can."""
        return None

    def demand_all(self) -> None:
        """Have statements fail from now on that would see a part of the sessions alone."""

    def refusal(self) -> str | None:
        """Say why nothing may be written here, None where it may."""
        return None

    def notes(self) -> list[str]:
        """Say what people should know of this place before a copy."""
        return []

    def evictions(self) -> int:
        """Return how many entries the place has dropped for want of room."""
        return 0

    # Sessions

    def pages(self, size: int, share: Share = WHOLE) -> Iterator[list[SessionRecord]]:
        """Read the sessions that have not expired, about ``size`` at a time."""
        raise NotImplementedError

    def keys(self, size: int, share: Share = WHOLE) -> Iterator[list[str]]:
        """List the keys of the sessions that have not expired, about ``size`` at a time."""
        raise NotImplementedError

    def fetch(self, keys: Sequence[str]) -> dict[str, SessionRecord]:
        """Read those of ``keys`` that exist and have not expired."""
        raise NotImplementedError

    def read(self, keys: Sequence[str]) -> dict[str, SessionRecord]:
        """Read sessions that were listed or given; what the site does not find where it is comes without payload."""
        return self.fetch(keys)

    def are_as_seen(self, sessions: Sequence[SessionRecord]) -> bool:
        """Tell quickly that all sessions still are as they were read; False also says that this takes a fetch."""
        return False

    def present(self, keys: Sequence[str]) -> set[str]:
        """Return those of ``keys`` that exist and have not expired."""
        return set(self.fetch(keys))

    def add(self, sessions: Sequence[SessionRecord]) -> set[str]:
        """Write the sessions whose keys are not there or have expired; return the keys written."""
        raise NotImplementedError

    def update(self, session: SessionRecord) -> bool:
        """Write over a session that is there and has not expired, whatever it holds; tell whether it was there.

        What ``more`` does not know is left as it was. The new session has not expired.
        """
        raise NotImplementedError

    def replace(self, pairs: Sequence[tuple[SessionRecord, SessionRecord]]) -> set[str]:
        """Write each (seen, new) where the place still holds what was seen; return the keys where it did."""
        raise NotImplementedError

    def discard(self, sessions: Sequence[SessionRecord]) -> set[str]:
        """Delete the sessions that the place still holds as seen; return their keys."""
        raise NotImplementedError

    def discard_expired(self, size: int) -> int:
        """Delete some ``size`` sessions that have expired and are still there; return how many, 0 at the end."""
        return 0

    # Payloads

    def check(self, session: SessionRecord) -> None:
        """Raise :exc:`migrator.sessions.records.SessionProblem` for what was listed and is no payload at all."""

    def load(self, session: SessionRecord) -> Data:
        """Read a payload; raise :exc:`migrator.sessions.codec.UnreadableSession` and its like where it cannot be."""
        return self.codec.decode(str(session.payload))

    def dump(self, data: Data, expires: int | None, saved_at: int, *, key: str = "") -> tuple[str | bytes, bool]:
        """Spell data for this place; tell whether it will be read back equal.

        ``key`` is the session's, which some engines put into what they keep.
        """
        return self.codec.encode_checked(data, saved_at)

    def remember(self, data: Data, session: SessionRecord, saved_at: int) -> dict[str, Any] | None:
        """Return what this place wants to know beside the data, from a session of another place."""
        return None

    def may_be_session(self, session: SessionRecord) -> bool:
        """Whether something under a key of another shape is a session all the same."""
        try:
            self.load(session)
        except UnreadableSession:
            return not self.keeps_text  # whatever lies beside files of sessions is not signed
        except SessionProblem as problem:
            return problem.count != "foreign"
        return True

    @property
    def pattern(self) -> str:
        """What keys have to look like to be listed here, nothing if any will do."""
        return ""

    def takes_verbatim(self, other: Store) -> bool:
        """Tell whether payloads of another place can be written here as they are."""
        return False

    def fits(self, session: SessionRecord) -> str | None:
        """Say why a session cannot be held, None where it can."""
        return None

    def rounded(self, expires: int | None) -> int | None:
        """Round an expiry down to what the place keeps."""
        return expires

    def same(self, one: SessionRecord, other: SessionRecord) -> bool:
        """Tell whether two readings of one session are of the same state."""
        return one.payload == other.payload and self.same_expiry(one.expires, other.expires)

    def same_expiry(self, one: int | None, other: int | None) -> bool:
        """Tell whether two expiries are one, to the precision of the place."""
        return self.rounded(one) == self.rounded(other)

    def uncache(self, keys: Sequence[str]) -> None:
        """Drop what a cache before the place holds of ``keys``: its engine reads that first."""

    # Help for subclasses

    def count_given(self) -> int:
        """Count the sessions of ``--keys-from`` that are there."""
        return sum(len(self.present(page)) for page in self.given_keys(10_000, WHOLE))

    def given_keys(self, size: int, share: Share) -> Iterator[list[str]]:
        """Read the keys of ``--keys-from``, one on each line."""
        if self._keys_from is None:
            raise Refused(
                f"The keys of {self.label()} cannot be listed. Give them with --keys-from FILE, one on each line."
            )
        stripped = (line.strip() for line in given_lines(self._keys_from))
        yield from pages_of((key for key in stripped if key and share.holds(key)), size)


def pages_of(keys: Iterable[str], size: int) -> Iterator[list[str]]:
    """Gather keys in pages, each key once in a page."""
    source = iter(keys)
    while page := list(islice(source, size)):
        yield list(dict.fromkeys(page))
