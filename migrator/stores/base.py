"""What every cache store can be asked; the answers here are the safe ones."""

from __future__ import annotations

import hashlib
import io
import pickle
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..clock import MICROSECONDS_PER_SECOND
from .key_space import KeySpace
from .pickles import loader

FIRST_CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Item(NamedTuple):
    """A key with its value as the store keeps it and its expiry in microseconds of Unix time, None for never."""

    key: str
    raw: bytes
    expires: int | None


# Stand in an item for what is no value at all, such as a list of the Redis kind, and for one out of reach. These very
# objects are meant, for somebody may store the same bytes.
NO_VALUE = b"(not a value)"
ELSEWHERE = b"(on another server)"


def reason_against(raw: bytes) -> str | None:
    """Say why what stands for a value is none, None where it is one."""
    if raw is NO_VALUE:
        return "it is no value but a structure of the server's own"
    if raw is ELSEWHERE:
        return "another client put it on another server than this cache looks for it on"
    return None


# The longest pickle that may be a number: 8 bytes and what frames them.
_LARGEST_INTEGER = 24


class _NumberReader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError("a number needs no class")


class Value(NamedTuple):
    """A stored value without the wrapping of one store: what kind of bytes they are, and the bytes.

    ``pickle`` bytes are moved without being read; ``integer`` is digits, ``text`` UTF-8, ``bytes`` themselves.
    """

    kind: str
    data: bytes

    @classmethod
    def of_pickle(cls, data: bytes) -> Value:
        """Describe a pickle; a small whole number becomes one, so that ``incr`` works wherever it goes."""
        if len(data) <= _LARGEST_INTEGER:
            try:
                number = _NumberReader(io.BytesIO(data)).load()
            except Exception:  # it holds something else
                number = None
            if type(number) is int:
                return cls("integer", b"%d" % number)
        return cls("pickle", data)

    def as_pickle(self) -> bytes:
        """Return the pickle that a store of pickles alone keeps in its place."""
        if self.kind == "pickle":
            return self.data
        plain: dict[str, Callable[[], Any]] = {
            "integer": lambda: int(self.data),
            "text": self.data.decode,
            "bytes": lambda: self.data,
        }
        if self.kind not in plain:
            raise RejectedItem(f"there is no pickle of a value of the kind {self.kind!r}")
        return pickle.dumps(plain[self.kind](), pickle.HIGHEST_PROTOCOL)


class RejectedItem(Exception):
    """A value that the destination cannot hold; the message holds none of its content."""


@dataclass(frozen=True)
class Share:
    """One part of the keys when several processes copy side by side: those whose first character is in it."""

    index: int = 0
    count: int = 1

    def characters(self) -> str:
        """Return the first characters of this share; the last share also takes all unusual ones."""
        step = -(-len(FIRST_CHARACTERS) // self.count)
        return FIRST_CHARACTERS[self.index * step : (self.index + 1) * step]

    def beginning(self) -> str | None:
        """Return the characters that every key of this share begins with one of, None where it may be any."""
        return None if self.is_whole or self.is_last else self.characters()

    @property
    def is_whole(self) -> bool:
        return self.count == 1

    @property
    def is_last(self) -> bool:
        return self.index == self.count - 1

    def holds(self, key: str) -> bool:
        """Tell whether a key belongs to this share."""
        if self.is_whole or key[:1] in self.characters():
            return True
        return self.is_last and key[:1] not in FIRST_CHARACTERS


WHOLE = Share()


@dataclass(frozen=True)
class ScatteredShare(Share):
    """One part of keys that may all begin alike: those whose checksum is in it."""

    def beginning(self) -> str | None:
        return None

    def holds(self, key: str) -> bool:
        return zlib.crc32(key.encode("utf-8", "surrogateescape")) % self.count == self.index


def digest(key: str) -> str:
    """Name a key in reports: enough to tell keys apart, useless for logging in."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:16]


class KeyStore:
    """One cache, many keys at a time, values as they are stored. Keys are those of a :class:`KeySpace`."""

    can_list_keys = False
    can_share = True
    # Whether all connections are the cache object's, so that another thread's object may be put in its place.
    can_change_threads = False
    # The finest step of time to live that the store keeps, in microseconds; expiry is rounded down to it.
    expiry_step = MICROSECONDS_PER_SECOND
    # Whether it refuses some items for their size, or that of their keys.
    has_size_limit = False
    # How far two answers about the same expiry may be apart, in microseconds.
    expiry_slack = 0

    def __init__(self, *, alias: str, cache: Any, trust_pickle: bool) -> None:
        self.alias = alias
        self.cache: Any = cache
        self._unpickle = loader(trusted=trust_pickle)

    def close(self) -> None:
        """Give up connections that are ours alone."""

    # What it is

    def address(self) -> str:
        """Name the place for people, without a password."""
        raise NotImplementedError

    def identities(self) -> frozenset[str]:
        """Name the physical place; two stores that share a name are the same one."""
        raise NotImplementedError

    @property
    def database(self) -> str | None:
        """The alias of the database that it is a table of, None for any other place."""
        return None

    def encoding(self) -> str:
        """Name how values are spelled; stores of equal encoding exchange raw values."""
        raise NotImplementedError

    def capacity(self) -> int | None:
        """Return how many keys fit in before the store drops others, None where it does not count them."""
        return None

    def held(self) -> int:
        """Return how many keys are held against the capacity, whoever's they are."""
        return 0

    def refusal(self, space: KeySpace) -> str | None:
        """Return why keys of ``space`` cannot be written here, None if they can. Nothing is changed by the question."""
        return None

    def blind_spot(self, space: KeySpace) -> str | None:
        """Return why not every key of ``space`` can be read here, and what to do; None if all can."""
        return None

    def demand_all(self) -> None:
        """Have statements fail from now on that would see a part of what is here alone."""

    def why_unlisted(self) -> str:
        """Return why keys cannot be listed, for the middle of a sentence."""
        return "this kind of cache keeps no list of its keys"

    def notes(self) -> list[str]:
        """Say what people should know of this store before a copy."""
        return []

    def evictions(self) -> int:
        """Return how many keys the store has dropped for want of room since it was started."""
        return 0

    # Keys

    def list_keys(self, space: KeySpace, size: int, share: Share = WHOLE) -> Iterator[list[str]]:
        """List the keys of a space, some ``size`` at a time; a key may come more than once."""
        raise NotImplementedError

    def fetch(self, space: KeySpace, keys: Sequence[str]) -> dict[str, Item]:
        """Read those of ``keys`` that exist and have not expired, from where they are written."""
        raise NotImplementedError

    def read(self, space: KeySpace, keys: Sequence[str]) -> dict[str, Item]:
        """Read keys that were listed or given; what the backend does not find where it is comes without a value."""
        return self.fetch(space, keys)

    def are_as_seen(self, space: KeySpace, items: Sequence[Item]) -> bool:
        """Tell quickly that all items still are as they were read; False also says that this takes a fetch."""
        return False

    def present(self, space: KeySpace, keys: Sequence[str]) -> set[str]:
        """Return those of ``keys`` that exist and have not expired."""
        return set(self.fetch(space, keys))

    def add(self, space: KeySpace, items: Sequence[Item]) -> set[str]:
        """Write those items whose keys do not exist and that have not expired; return the keys written."""
        raise NotImplementedError

    def update(self, space: KeySpace, item: Item) -> bool:
        """Write over a key that exists, whatever it holds, in one step; tell whether it existed.

        The item has not expired.
        """
        raise NotImplementedError

    def replace(self, space: KeySpace, pairs: Sequence[tuple[Item, Item]]) -> set[str]:
        """Write each (seen, new) where the store still holds what was seen; return the keys where it did."""
        raise NotImplementedError

    def discard(self, space: KeySpace, items: Sequence[Item]) -> set[str]:
        """Delete the keys that the store still holds as seen; return them."""
        raise NotImplementedError

    def delete(self, space: KeySpace, keys: Sequence[str]) -> None:
        """Delete keys, whatever they hold."""
        self.cache.delete_many([space.prefix + key for key in keys])

    def fits(self, space: KeySpace, item: Item) -> str | None:
        """Say why an item cannot be held, None where it can."""
        return None

    # Values

    def decode(self, raw: bytes) -> Any:
        """Read a stored value; raise whatever its serializer raises."""
        raise NotImplementedError

    def encode(self, value: Any, expires: int | None) -> bytes:
        """Spell a value as this store's backend would for a key that expires then."""
        raise NotImplementedError

    @property
    def has_exact_values(self) -> bool:
        """Whether every value that can be spelled is read back equal, as pickles are and JSON is not."""
        return True

    def takes_verbatim(self, other: KeyStore) -> bool:
        """Tell whether raw values of another store can be written here as they are."""
        return self.encoding() == other.encoding()

    def unwrap(self, raw: bytes) -> Value:
        """Take the store's own wrapping off; raise :exc:`RejectedItem` where only the backend can."""
        raise RejectedItem(f"values of the cache {self.alias!r} cannot be taken apart unread")

    def wrap(self, value: Value) -> bytes:
        """Put the store's own wrapping on; raise :exc:`RejectedItem` where the store has no spelling for it."""
        raise RejectedItem(f"the cache {self.alias!r} has no way to hold a {value.kind} value")

    # Help for subclasses

    def rounded(self, expires: int | None) -> int | None:
        """Round an expiry down to what the store keeps."""
        return None if expires is None else expires - expires % self.expiry_step

    def is_as_seen(self, current: Mapping[str, Item], seen: Item) -> bool:
        """Tell whether a key still holds what was seen, to the store's precision."""
        item = current.get(seen.key)
        return item is not None and item.raw == seen.raw and self.same_expiry(item.expires, seen.expires)

    def same_expiry(self, one: int | None, other: int | None) -> bool:
        """Tell whether two expiries are one, to the store's precision."""
        one, other = self.rounded(one), self.rounded(other)
        if one is None or other is None:
            return one is other
        return abs(one - other) <= self.expiry_slack
