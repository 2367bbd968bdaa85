"""Pages of keys copied: read raw, wrapped anew where the stores differ, written, and looked at again in the source."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from django.db import DataError, IntegrityError

from ..clock import now
from ..console.private_files import given_lines
from ..stores.base import WHOLE, Item, KeyStore, RejectedItem, Share, reason_against
from ..stores.key_space import KeySpace, is_bookkeeping
from .records import CacheCounts, CacheOptions

ROUNDS = 5


def pages_of(store: KeyStore, space: KeySpace, options: CacheOptions, share: Share = WHOLE) -> Iterator[list[str]]:
    """List the keys of a share in pages, as far as the options want them."""
    left = options.limit
    pages = _given(options, share) if options.keys_from else store.list_keys(space, options.chunk_size, share)
    for page in pages:
        page = [key for key in page if not is_bookkeeping(options.match + key)]
        if left is not None:
            page = page[:left]
            left -= len(page)
        if page:
            yield page
        if left == 0:
            return


def _given(options: CacheOptions, share: Share) -> Iterator[list[str]]:
    assert options.keys_from is not None  # noqa: S101  (asked by the caller)
    page: list[str] = []
    for key in given_lines(options.keys_from):
        if key and key.startswith(options.match) and share.holds(key):
            page.append(key.removeprefix(options.match))
        if len(page) >= options.chunk_size:
            yield page
            page = []
    if page:
        yield page


class CachePageCopier:
    """Copies pages of keys; a page may be copied twice, or half and then again."""

    def __init__(
        self, source: KeyStore, dest: KeyStore, ours: KeySpace, theirs: KeySpace, options: CacheOptions
    ) -> None:
        self._source, self._dest, self._ours, self._theirs = source, dest, ours, theirs
        self._options = options
        self._verbatim = dest.takes_verbatim(source)
        self.tally = CacheCounts()
        self._refused: set[str] = set()

    def keep_pace(self, started: float) -> None:
        """Sleep until the next page is due."""
        if self._options.rate:
            time.sleep(max(started + self.tally.read * self._options.jobs / self._options.rate - time.monotonic(), 0))

    def copy(self, keys: list[str]) -> None:
        """Copy one page, and count."""
        found = self._source.read(self._ours, keys)
        self.tally.read += len(keys)
        self.tally.expired += len(keys) - len(found)
        pairs: dict[str, tuple[Item, Item]] = {}
        for key, item in found.items():
            converted = self._converted(item)
            if converted is not None:
                pairs[key] = (item, converted)
        written = self._added([value for _, value in pairs.values()])
        pairs = {key: pair for key, pair in pairs.items() if key not in self._refused}
        self.tally.written += len(written)
        wrote = {key: pair for key, pair in pairs.items() if key in written}
        wrote |= self._held({key: pair for key, pair in pairs.items() if key not in written})
        self._look_again(wrote)

    def _added(self, items: Sequence[Item]) -> set[str]:
        """Write the items whose keys are not there; return the keys written. Those that a table refuses are noted."""
        try:
            return self._dest.add(self._theirs, items)
        except (DataError, IntegrityError, ValueError) as error:
            if len(items) == 1:
                self._refused.add(items[0].key)
                self.tally.note(items[0].key, f"the table refuses its row ({type(error).__name__})")
                return set()
        return set().union(*(self._added([item]) for item in items))

    def _converted(self, item: Item) -> Item | None:
        if reason := reason_against(item.raw):
            self.tally.note(item.key, reason)
            return None
        if item.expires is None:
            self.tally.no_ttl += 1
        elif (self._dest.rounded(item.expires) or 0) <= now():
            self.tally.expired += 1
            return None
        try:
            raw = item.raw if self._verbatim else self._dest.wrap(self._source.unwrap(item.raw))
            new = item._replace(raw=raw)
            if problem := self._dest.fits(self._theirs, new):
                raise RejectedItem(problem)
        except RejectedItem as error:
            self.tally.note(item.key, str(error))
            return None
        return new

    def _held(self, pairs: dict[str, tuple[Item, Item]]) -> dict[str, tuple[Item, Item]]:
        """Write over what the destination holds already, where that was asked for and it is another value."""
        if not pairs:
            return {}
        there = self._dest.fetch(self._theirs, list(pairs))
        self.tally.expired += len(pairs) - len(there)
        other = {key: there[key] for key in there if not self._dest.is_as_seen(there, pairs[key][1])}
        if not self._options.overwrite:
            other = {}
        changed = self._dest.replace(self._theirs, [(held, pairs[key][1]) for key, held in other.items()])
        self.tally.overwritten += len(changed)
        self.tally.present += len(there) - len(changed)
        return {key: pairs[key] for key in changed}

    def _look_again(self, wrote: dict[str, tuple[Item, Item]]) -> None:
        """Take back what the source has dropped since it was read, and follow what it has changed."""
        for _ in range(ROUNDS):
            if not wrote or self._source.are_as_seen(self._ours, [read for read, _ in wrote.values()]):
                return
            current = self._source.fetch(self._ours, list(wrote))
            moment = now()
            ended = [
                written
                for key, (read, written) in wrote.items()
                if key not in current and (read.expires is None or read.expires > moment)
            ]
            if ended:
                self.tally.removed += len(self._dest.discard(self._theirs, ended))
            following = {}
            for key, item in current.items():
                value = None if self._source.is_as_seen(current, wrote[key][0]) else self._converted(item)
                if value is not None:
                    following[key] = (item, value)
            pairs = [(wrote[key][1], value) for key, (_, value) in following.items()]
            changed = self._dest.replace(self._theirs, pairs) if pairs else set()
            self.tally.refreshed += len(changed)
            wrote = {key: following[key] for key in changed}
