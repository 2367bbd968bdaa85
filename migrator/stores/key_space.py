"""Which raw keys belong to a cache, and which key of the application each of them is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from django.core.cache.backends.base import BaseCache, default_key_func

from ..errors import Refused

_PROBES = ("zq0probe0one", "zq1probe1another")
SESSION_KEY = r"[a-z0-9]{32}"


@dataclass(frozen=True)
class KeySpace:
    """The keys of one cache that begin with ``prefix``, as the cache's own key function makes them.

    A raw key belongs to the space only if the key function makes it from what is between ``head`` and ``tail``. One
    with a longer prefix, another version or another KEY_PREFIX never does.
    """

    prefix: str
    head: str
    tail: str
    make_key: Callable[[str], str]
    candidate: re.Pattern[str] | None = None
    # What every raw key contains somewhere, if head and tail are not specific enough.
    within: str = ""

    def raw(self, key: str) -> str:
        """Return the raw key of a key, which follows the prefix."""
        return self.make_key(self.prefix + key)

    def raws(self, keys: Iterable[str]) -> list[str]:
        """Return the raw keys of keys, in their order."""
        stem, prefix, make_key = self._stem, self.prefix, self.make_key
        return [make_key(prefix + key) for key in keys] if stem is None else [stem + key for key in keys]

    @property
    def is_stock(self) -> bool:
        """Whether Django's own key function makes the raw keys, with KEY_PREFIX and version before each."""
        cache = getattr(self.make_key, "__self__", None)
        is_stock = type(cache).make_key is BaseCache.make_key if isinstance(cache, BaseCache) else False
        return is_stock and getattr(cache, "key_func", None) is default_key_func

    @cached_property
    def _stem(self) -> str | None:
        """What Django's own key function puts before each key; None for any other key function."""
        return self.make_key(self.prefix) if self.is_stock else None

    def key(self, raw: str) -> str | None:
        """Return the key in a raw key, None if the raw key does not belong to the space."""
        return next(iter(self.keys([raw])), None)

    def keys(self, raws: Iterable[str]) -> list[str]:
        """Return the keys in those raw keys that belong to the space, without duplicates."""
        head, tail, prefix, make_key, stem = self.head, self.tail, self.prefix, self.make_key, self._stem
        begin, end = len(head), -len(tail) or None
        is_candidate = self.candidate.fullmatch if self.candidate else _is_any
        if stem is not None and stem == head and not tail:
            found = [raw[begin:] for raw in raws if raw.startswith(head)]
            return list(dict.fromkeys(filter(is_candidate, found)))
        found = []
        for raw in raws:
            if raw.startswith(head) and raw.endswith(tail):
                key = raw[begin:end]
                if is_candidate(key) and make_key(prefix + key) == raw:
                    found.append(key)
        return list(dict.fromkeys(found))


# The keys that migrator itself keeps in caches: markers of a transition, and metrics. With a KEY_FUNCTION that adds
# nothing, keys of caches with another prefix belong to the same space, and only end with these names.
_BOOKKEEPING = re.compile(r"(?:^|\W)migrator\.(?:transition\.(?:fence|probe\.\w+|[0-9a-f]{40})|tally\.\S+)$")


def is_bookkeeping(key: str) -> bool:
    """Whether a key of the application is one of migrator's own, which belongs in its own cache alone."""
    return "migrator." in key and bool(_BOOKKEEPING.search(key))


def _is_any(key: str) -> bool:
    return True  # also the empty key, whose raw key is the prefix alone


def key_space(
    make_key: Callable[[str], str], *, alias: str, prefix: str = "", candidate: str | None = None
) -> KeySpace:
    """Return the keys of a cache that begin with ``prefix``, by what its key function puts around them.

    Raises :exc:`Refused` if a raw key does not contain the key that it was made from.
    """
    first, second = (str(make_key(prefix + probe)) for probe in _PROBES)
    head, found, tail = first.partition(_PROBES[0])
    if not found or head + _PROBES[1] + tail != second:
        raise Refused(
            f"The KEY_FUNCTION of the cache {alias!r} cannot be reversed: the key {_PROBES[0]!r} does not appear once, "
            "unchanged, in what it returns. Give the keys with --keys-from FILE, one on each line."
        )
    return KeySpace(prefix, head, tail, make_key, re.compile(candidate) if candidate else None)


def unlisted_key_space(make_key: Callable[[str], str], *, prefix: str = "", candidate: str | None = None) -> KeySpace:
    """Return the keys of a cache whose keys are given and never listed, so that any key function is possible."""
    return KeySpace(prefix, "", "", make_key, re.compile(candidate) if candidate else None)


class _Elsewhere(KeySpace):
    """Raw keys that look like those of another space, but do not belong to it. Its keys are the raw keys themselves."""

    def keys(self, raws: Iterable[str]) -> list[str]:
        return [raw for raw in raws if self._is_one(raw)]

    def _is_one(self, raw: str) -> bool:
        begin, end = raw.rfind(self.within) + len(self.within), len(raw) - len(self.tail)
        if self.within not in raw or not raw.endswith(self.tail):
            return False
        key = raw[begin:end]
        is_candidate = self.candidate is None or bool(self.candidate.fullmatch(key))
        return is_candidate and self.make_key(self.within + key) != raw


def elsewhere(space: KeySpace, candidate: re.Pattern[str]) -> KeySpace:
    """Return the raw keys with the prefix of ``space`` after another head: another version, KEY_PREFIX or tenant."""
    return _Elsewhere("", "", space.tail, space.make_key, candidate, space.prefix)


def escaped_glob(text: str) -> str:
    """Escape the characters that Redis's MATCH reads as a pattern."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", text)
