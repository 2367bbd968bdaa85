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
    """The keys of one cache that begin with ``prefix``, as the cache's own key function spells them.

    A raw key is ours only where the key function gives it for what is left between ``head`` and ``tail``: a longer
    prefix that begins alike, another version or another KEY_PREFIX never is.
    """

    prefix: str
    head: str
    tail: str
    make_key: Callable[[str], str]
    candidate: re.Pattern[str] | None = None
    # What every raw key holds somewhere, where head and tail do not say enough.
    within: str = ""

    def raw(self, key: str) -> str:
        """Spell the raw key of what follows the prefix."""
        return self.make_key(self.prefix + key)

    def raws(self, keys: Iterable[str]) -> list[str]:
        """Spell the raw keys of many."""
        stem, prefix, make_key = self._stem, self.prefix, self.make_key
        return [make_key(prefix + key) for key in keys] if stem is None else [stem + key for key in keys]

    @property
    def is_stock(self) -> bool:
        """Whether Django's own key function spells the keys: prefix and version before each, and nothing else."""
        cache = getattr(self.make_key, "__self__", None)
        is_stock = type(cache).make_key is BaseCache.make_key if isinstance(cache, BaseCache) else False
        return is_stock and getattr(cache, "key_func", None) is default_key_func

    @cached_property
    def _stem(self) -> str | None:
        """What Django's own key function puts before each key; None where another function spells them."""
        return self.make_key(self.prefix) if self.is_stock else None

    def key(self, raw: str) -> str | None:
        """Return what follows the prefix in a raw key, None where the raw key is not one of ours."""
        return next(iter(self.keys([raw])), None)

    def keys(self, raws: Iterable[str]) -> list[str]:
        """Return what follows the prefix in those of many raw keys that are ours, each once."""
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


# What migrator itself keeps in caches: marks of a transition, and counters. To a KEY_FUNCTION that adds nothing, the
# keys of caches with another prefix are its own as well, and end so.
_BOOKKEEPING = re.compile(r"(?:^|\W)migrator\.(?:transition\.(?:fence|probe\.\w+|[0-9a-f]{40})|tally\.\S+)$")


def is_bookkeeping(key: str) -> bool:
    """Whether a key of the application is one that migrator keeps for itself: it belongs to its own cache alone."""
    return "migrator." in key and bool(_BOOKKEEPING.search(key))


def _is_any(key: str) -> bool:
    return True  # of a key that is the prefix alone nothing is left


def key_space(
    make_key: Callable[[str], str], *, alias: str, prefix: str = "", candidate: str | None = None
) -> KeySpace:
    """Take the key function of a cache apart around ``prefix``.

    Raises :exc:`Refused` where a raw key does not show the key it was made from.
    """
    first, second = (str(make_key(prefix + probe)) for probe in _PROBES)
    head, found, tail = first.partition(_PROBES[0])
    if not found or head + _PROBES[1] + tail != second:
        raise Refused(
            f"The KEY_FUNCTION of the cache {alias!r} cannot be reversed: the key {_PROBES[0]!r} does not appear once, "
            "unchanged, in what it makes. Give the keys with --keys-from FILE, one on each line."
        )
    return KeySpace(prefix, head, tail, make_key, re.compile(candidate) if candidate else None)


def unlisted_key_space(make_key: Callable[[str], str], *, prefix: str = "", candidate: str | None = None) -> KeySpace:
    """Spell raw keys from given ones, for a cache whose own keys are never listed."""
    return KeySpace(prefix, "", "", make_key, re.compile(candidate) if candidate else None)


class _Elsewhere(KeySpace):
    """Raw keys that look like those of another space and are not of it; they stay raw."""

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
    """Describe raw keys that hold the prefix of ``space`` under another head: of another version, prefix or tenant."""
    return _Elsewhere("", "", space.tail, space.make_key, candidate, space.prefix)


def escaped_glob(text: str) -> str:
    """Escape what Redis's MATCH would read as a pattern."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", text)
