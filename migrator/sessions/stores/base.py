"""The contract of all stores of sessions. Its default answers are the safe ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...console.private_files import given_lines
from ...errors import Refused
from ...stores.base import Record, RecordProblem, Share, Store, batches
from ..codec import Codec, Data, UnreadableSession, codec_for

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase


class BaseSessionStore(Store):
    """The sessions of one store, many at a time. No session is loaded through its engine, which may write."""

    # Whether sessions are signed text, which any engine with the same salt and keys reads.
    keeps_text = True
    # What the store knows in addition to key, data and expiry: the keys of ``Record.more``.
    roles: frozenset[str] = frozenset()

    def __init__(self, *, engine: SessionBase, keys_from: Path | None = None) -> None:
        Store.__init__(self)
        self.engine = engine
        self._keys_from = keys_from
        self._codec: Codec | None = None
        # Keys that were listed and left out: they begin like this engine's keys, and do not look like one.
        self.hidden: set[str] = set()

    @property
    def codec(self) -> Codec:
        """The reader and writer of this store's text."""
        if self._codec is None:
            self._codec = codec_for(self.engine)
        return self._codec

    @property
    def has_given_keys(self) -> bool:
        """Whether only the sessions of ``--keys-from`` are read."""
        return self._keys_from is not None

    def count(self) -> int | None:
        if not self.can_list_keys and self._keys_from is None:
            return None
        pages = self.keys(10_000)
        return sum(len(self.present(page)) if self._keys_from else len(page) for page in pages)

    def discard_expired(self, size: int) -> int:
        """Delete about ``size`` sessions that have expired and still exist; return how many, 0 at the end."""
        return 0

    def uncache(self, keys: Sequence[str]) -> None:
        """Delete ``keys`` from the cache in front of the store, which its engine reads first."""

    # Sessions

    def check(self, session: Record) -> None:
        """Raise :exc:`RecordProblem` for a key that was listed and is not a session at all."""

    def load(self, session: Record) -> Data:
        """Return the data of a session. Raises :exc:`UnreadableSession` or :exc:`RecordProblem`."""
        return self.codec.decode(str(session.raw))

    def dump(self, data: Data, expires: int | None, saved_at: int, *, key: str = "") -> tuple[str | bytes, bool]:
        """Return data in the format of this store, and whether they will be read back equal.

        ``saved_at`` is in seconds of Unix time; ``key`` is the session's, which some engines store with the data.
        """
        return self.codec.encode_checked(data, saved_at)

    def remember(self, data: Data, session: Record, saved_at: int) -> dict[str, Any] | None:
        """Return what this store knows in addition to the data (``Record.more``) of another store's session."""
        return None

    def may_be_session(self, session: Record) -> bool:
        """Whether a record whose key has another shape is nevertheless a session."""
        try:
            self.load(session)
        except UnreadableSession:
            return not self.keeps_text  # other files in a directory of sessions are not signed
        except RecordProblem as problem:
            return problem.count != "foreign"
        return True

    @property
    def pattern(self) -> str:
        """The regular expression that keys have to match to be listed here, empty if any key is listed."""
        return ""

    def takes_verbatim(self, other: BaseSessionStore) -> bool:
        """Whether sessions of another store can be written here as they are."""
        return False

    # Help for subclasses

    def given_keys(self, size: int, share: Share) -> Iterator[list[str]]:
        """Yield the keys of ``--keys-from``, one on each line."""
        if self._keys_from is None:
            raise Refused(
                f"The keys of {self.label()} cannot be listed. Give them with --keys-from FILE, one on each line."
            )
        stripped = (line.strip() for line in given_lines(self._keys_from))
        yield from batches((key for key in stripped if key and share.holds(key)), size)
