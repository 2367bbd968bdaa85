"""The contract of all stores of keyed records with an expiry. Its default answers are the safe ones."""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

FIRST_CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Record(NamedTuple):
    """What a store keeps under a key.

    ``raw`` is the value in the store's own format: bytes in a cache, signed text in a table or a file of sessions.
    ``expires`` is in microseconds of Unix time, None for never. ``more`` is what a table of sessions has in addition
    to the value: the user, the address, the browser, timestamps.
    """

    key: str
    raw: Any
    expires: int | None
    more: Mapping[str, Any] | None = None


class RecordProblem(Exception):
    """A record that cannot be copied. ``count`` names the count it belongs to; the message quotes no content."""

    def __init__(self, count: str, why: str) -> None:
        super().__init__(why)
        self.count = count


@dataclass(frozen=True)
class Share:
    """One part of the keys when several processes copy in parallel: those whose first character is in it."""

    index: int = 0
    count: int = 1

    def characters(self) -> str:
        """Return the first characters of this share; the last share also takes all unusual ones."""
        step = -(-len(FIRST_CHARACTERS) // self.count)
        return FIRST_CHARACTERS[self.index * step : (self.index + 1) * step]

    def beginning(self) -> str | None:
        """Return the possible first characters of the keys of this share, None if any character is possible."""
        return None if self.is_whole or self.is_last else self.characters()

    @property
    def is_whole(self) -> bool:
        return self.count == 1

    @property
    def is_last(self) -> bool:
        return self.index == self.count - 1

    def holds(self, key: str) -> bool:
        """Whether a key belongs to this share."""
        if self.is_whole or key[:1] in self.characters():
            return True
        return self.is_last and key[:1] not in FIRST_CHARACTERS


WHOLE = Share()


@dataclass(frozen=True)
class ScatteredShare(Share):
    """One part of keys that may all begin with the same characters: those whose checksum is in it."""

    def beginning(self) -> str | None:
        return None

    def holds(self, key: str) -> bool:
        return zlib.crc32(key.encode("utf-8", "surrogateescape")) % self.count == self.index


def digest(key: str) -> str:
    """Return the name of a key in reports: it distinguishes keys, and no one can log in with it."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def batches(keys: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yield keys in lists of at most ``size``, without duplicates within a list."""
    source = iter(keys)
    while batch := list(islice(source, size)):
        yield list(dict.fromkeys(batch))


class Store:
    """Records under keys, read and written many at a time."""

    can_list_keys = True
    # Whether several processes can each read a share of its keys.
    can_share = True
    # Whether a record may have no expiry.
    keeps_forever = False
    # Whether it rejects some records because of their size, or the size of their keys.
    has_size_limit = False
    # The resolution of expiries, in microseconds; an expiry is rounded down to it.
    expiry_step = 1
    # How much two readings of one expiry may differ, in microseconds.
    expiry_slack = 0

    def __init__(self) -> None:
        # What the store cannot hold of records that it otherwise takes: the number of records by sentence.
        self.losses: Counter[str] = Counter()

    def close(self) -> None:
        """Close the connections that belong to this object alone."""

    @property
    def can_open_again(self) -> bool:
        """Whether the store can be opened a second time, in another thread."""
        return True

    # The store

    def label(self) -> str:
        """Return the name of the store for people, without a password."""
        raise NotImplementedError

    def identities(self) -> frozenset[str]:
        """Return names of the physical records; two stores with a name in common are the same store."""
        raise NotImplementedError

    def databases(self) -> frozenset[str]:
        """Return the aliases of the databases that are written to when records are written here."""
        return frozenset()

    def count(self) -> int | None:
        """Return the number of records that have not expired, None if it is not known beforehand."""
        return None

    def capacity(self) -> int | None:
        """Return how many records fit before the store evicts others, None if it does not count them."""
        return None

    def held(self) -> int:
        """Return how many records count towards the capacity, whatever they belong to."""
        return 0

    def blind_spot(self) -> str | None:
        """Return why some records cannot be read here, and what to do about it; None if all can."""
        return None

    def demand_all(self) -> None:
        """Have statements fail from now on if they would see only some of the records."""

    def refusal(self) -> str | None:
        """Return why nothing can be written here, None if it can. Asking changes nothing."""
        return None

    def notes(self) -> list[str]:
        """Return what people should know about this store before a copy."""
        return []

    def evictions(self) -> int:
        """Return how many records the store has evicted for lack of memory."""
        return 0

    # Records

    def pages(self, size: int, share: Share = WHOLE) -> Iterator[list[Record]]:
        """Yield the records that have not expired, about ``size`` at a time."""
        for page in self.keys(size, share):
            yield list(self.read(page).values())

    def keys(self, size: int, share: Share = WHOLE) -> Iterator[list[str]]:
        """Yield the keys of the records that have not expired, about ``size`` at a time; a key may come repeatedly."""
        raise NotImplementedError

    def fetch(self, keys: Sequence[str]) -> dict[str, Record]:
        """Return those of ``keys`` that exist and have not expired, read from the primary."""
        raise NotImplementedError

    def read(self, keys: Sequence[str]) -> dict[str, Record]:
        """Return records that were listed or given. One that its application would not find has a placeholder."""
        return self.fetch(keys)

    def are_as_seen(self, records: Sequence[Record]) -> bool:
        """Whether all records are still as they were read, by a quick test; False can mean that it takes a fetch."""
        return False

    def present(self, keys: Sequence[str]) -> set[str]:
        """Return those of ``keys`` that exist and have not expired."""
        return set(self.fetch(keys))

    def add(self, records: Sequence[Record]) -> set[str]:
        """Write the records that have not expired and whose keys do not exist; return the keys written."""
        raise NotImplementedError

    def update(self, record: Record) -> bool:
        """Overwrite an existing record, whatever it holds; return whether it existed.

        What ``more`` does not mention stays as it was. The new record has not expired.
        """
        raise NotImplementedError

    def replace(self, pairs: Sequence[tuple[Record, Record]]) -> set[str]:
        """Write each (seen, new) if the store still holds what was seen; return the keys written."""
        raise NotImplementedError

    def discard(self, records: Sequence[Record]) -> set[str]:
        """Delete the records that the store still holds as seen; return their keys."""
        raise NotImplementedError

    def fits(self, record: Record) -> str | None:
        """Return why a record cannot be held, None if it can."""
        return None

    # Comparison

    def rounded(self, expires: int | None) -> int | None:
        """Return an expiry rounded down to what the store keeps."""
        return None if expires is None else expires - expires % self.expiry_step

    def same(self, one: Record, other: Record) -> bool:
        """Whether two readings of a record show the same state, to the store's precision."""
        return bool(one.raw == other.raw) and self.same_expiry(one.expires, other.expires)

    def same_expiry(self, one: int | None, other: int | None) -> bool:
        """Whether two expiries are equal to the store's precision."""
        one, other = self.rounded(one), self.rounded(other)
        if one is None or other is None:
            return one is other
        return abs(one - other) <= self.expiry_slack

    def is_as_seen(self, current: Mapping[str, Record], seen: Record) -> bool:
        """Whether ``current``, by key, still has a record as it was seen."""
        record = current.get(seen.key)
        return record is not None and self.same(record, seen)
