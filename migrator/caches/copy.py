"""A cache copied to another: raw values and their exact time to live, never read as objects."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, fields
from pathlib import Path

from ..errors import Declined, Refused, UsageError
from ..interrupts import Interrupts
from ..progress import Progress
from ..prompts import Prompter
from .keys import KeySpace, key_space, unlisted_key_space
from .stores import open_store
from .stores.base import NO_VALUE, Item, KeyStore, Rejected, digest, now

MAX_PROBLEMS_LISTED = 1000
ROUNDS = 5


@dataclass(frozen=True)
class CacheOptions:
    """How to copy. ``match``: only keys of the application that begin so; ``keys_from``: a file of keys to copy."""

    match: str = ""
    keys_from: Path | None = None
    chunk_size: int = 1000
    limit: int | None = None
    rate: int | None = None
    overwrite: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class CachePlan:
    """What a copy would do. ``encoding`` tells how values go over."""

    source: str
    dest: str
    in_source: int | None
    encoding: str
    notes: tuple[str, ...]
    options: CacheOptions


@dataclass
class CacheTally:
    """What was counted."""

    read: int = 0
    written: int = 0
    present: int = 0
    overwritten: int = 0
    refreshed: int = 0
    removed: int = 0
    expired: int = 0
    no_ttl: int = 0
    unfit: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)

    def note(self, key: str, why: str) -> None:
        """Count a key that cannot be moved, and list it by digest."""
        self.unfit += 1
        if len(self.problems) < MAX_PROBLEMS_LISTED:
            self.problems.append((digest(key), why))


@dataclass(frozen=True)
class CacheResult:
    """What a copy did."""

    plan: CachePlan
    tally: CacheTally = field(default_factory=CacheTally)
    seconds: float = 0.0
    evicted: int = 0
    is_dry_run: bool = False


def copy_cache(
    *,
    source: str,
    dest: str,
    options: CacheOptions | None = None,
    progress: Progress | None = None,
    prompter: Prompter | None = None,
    show: Callable[[CachePlan], object] = lambda plan: None,
) -> CacheResult:
    """Copy the keys of the cache ``source`` to the cache ``dest``, where it does not hold them already.

    Raises :exc:`migrator.errors.UsageError`, :exc:`Refused` before the first write, :exc:`Declined`, and
    :exc:`migrator.errors.Interrupted`.
    """
    options, progress, prompter = options or CacheOptions(), progress or Progress(), prompter or Prompter()
    with closing(open_store(alias=source)) as opened, closing(open_store(alias=dest)) as target:
        ours, theirs = _space(opened, options), _plain_space(target, options)
        plan = _planned(opened, target, ours, theirs, options)
        show(plan)
        if options.dry_run:
            return CacheResult(plan, is_dry_run=True)
        if not prompter.proceed(f"Copy the cache {source!r} to {dest!r}?"):
            raise Declined("Nothing was written.")
        started, evicted = time.monotonic(), target.evictions()
        copier = _Copier(opened, target, ours, theirs, options)
        with Interrupts() as interrupts, progress.task("keys", plan.in_source, unit="keys") as task:
            interrupts.defer("What was written stays; run the same command again.")
            for page in _pages(opened, ours, options):
                copier.copy(page)
                task.advance(len(page))
                copier.keep_pace(started)
                interrupts.check()
        return CacheResult(plan, copier.tally, time.monotonic() - started, max(target.evictions() - evicted, 0))


def _space(store: KeyStore, options: CacheOptions) -> KeySpace:
    if options.keys_from is not None:
        return unlisted_key_space(store.cache.make_key, prefix=options.match)
    if not store.can_list_keys:
        raise Refused(f"The keys of the cache {store.alias!r} cannot be listed. Give them with --keys-from FILE.")
    return key_space(store.cache.make_key, alias=store.alias, prefix=options.match)


def _plain_space(store: KeyStore, options: CacheOptions) -> KeySpace:
    return unlisted_key_space(store.cache.make_key, prefix=options.match)


def _planned(source: KeyStore, dest: KeyStore, ours: KeySpace, theirs: KeySpace, options: CacheOptions) -> CachePlan:
    if source.identities() & dest.identities():
        _check_apart(source, ours, theirs)
    if reason := dest.refusal():
        raise Refused(f"Nothing can be written to the cache {dest.alias!r}: {reason}.")
    in_source = None if options.keys_from else sum(map(len, source.list_keys(ours, 10_000)))
    capacity = dest.capacity()
    if capacity is not None and in_source is not None and in_source > capacity:
        raise Refused(
            f"The cache {dest.alias!r} keeps {capacity:,} entries (MAX_ENTRIES) and drops others, and {in_source:,} "
            "keys are to be copied. Raise MAX_ENTRIES in its OPTIONS above that, for good."
        )
    encoding = _check_encoding(source, dest, ours, options)
    notes = [*source.notes(), *dest.notes()]
    return CachePlan(
        f"cache {source.alias!r} ({source.address()}), keys {ours.raw('…')}",
        f"cache {dest.alias!r} ({dest.address()}), keys {theirs.raw('…')}",
        in_source,
        encoding,
        tuple(notes),
        options,
    )


def _check_apart(source: KeyStore, ours: KeySpace, theirs: KeySpace) -> None:
    """Refuse one place given twice, and a copy within one place that would find its own keys."""
    if ours.raw("probe") == theirs.raw("probe"):
        raise Refused(f"Source and destination are the same place: {source.address()}, keys {ours.raw('…')}.")
    if ours.head and theirs.raw("probe").startswith(ours.head):
        raise Refused(
            "Both caches are in one place, and what is written would be read as keys of the source again: "
            f"{theirs.raw('…')} begins as {ours.raw('…')} does."
        )


def _check_encoding(source: KeyStore, dest: KeyStore, ours: KeySpace, options: CacheOptions) -> str:
    """Say how values go over; refuse two caches whose values would have to be read and spelled anew."""
    if dest.takes_verbatim(source):
        return "as they are"
    for page in _pages(source, ours, options):
        for item in source.fetch(ours, page[:20]).values():
            try:
                dest.wrap(source.unwrap(item.raw))
            except Rejected as error:
                raise Refused(
                    f"Values of {source.alias!r} ({source.encoding()}) cannot go to {dest.alias!r} ({dest.encoding()}) "
                    f"unread: {error}. Give both caches the same serializer and compressor for the move."
                ) from None
        break
    return f"from {source.encoding()} to {dest.encoding()}, the pickles within unread"


def _pages(store: KeyStore, space: KeySpace, options: CacheOptions) -> Iterator[list[str]]:
    left = options.limit
    pages = _given(options) if options.keys_from else store.list_keys(space, options.chunk_size)
    for page in pages:
        if left is not None:
            page = page[:left]
            left -= len(page)
        if page:
            yield page
        if left == 0:
            return


def _given(options: CacheOptions) -> Iterator[list[str]]:
    assert options.keys_from is not None  # noqa: S101  (asked by the caller)
    page: list[str] = []
    try:
        with options.keys_from.open(encoding="utf-8") as file:
            for line in file:
                key = line.rstrip("\n")
                if key and key.startswith(options.match):
                    page.append(key.removeprefix(options.match))
                if len(page) >= options.chunk_size:
                    yield page
                    page = []
    except OSError as error:
        raise UsageError(f"{str(options.keys_from)!r} cannot be read: {error.strerror}.") from error
    if page:
        yield page


class _Copier:
    """Copies pages of keys; a page may be copied twice, or half and then again."""

    def __init__(
        self, source: KeyStore, dest: KeyStore, ours: KeySpace, theirs: KeySpace, options: CacheOptions
    ) -> None:
        self._source, self._dest, self._ours, self._theirs = source, dest, ours, theirs
        self._options = options
        self._verbatim = dest.takes_verbatim(source)
        self.tally = CacheTally()

    def keep_pace(self, started: float) -> None:
        """Sleep until the next page is due."""
        if self._options.rate:
            time.sleep(max(started + self.tally.read / self._options.rate - time.monotonic(), 0))

    def copy(self, keys: list[str]) -> None:
        """Copy one page, and count."""
        found = self._source.fetch(self._ours, keys)
        self.tally.read += len(keys)
        self.tally.expired += len(keys) - len(found)
        pairs: dict[str, tuple[Item, Item]] = {}
        for key, item in found.items():
            converted = self._converted(item)
            if converted is not None:
                pairs[key] = (item, converted)
        written = self._dest.add(self._theirs, [value for _, value in pairs.values()])
        self.tally.written += len(written)
        wrote = {key: pair for key, pair in pairs.items() if key in written}
        wrote |= self._held({key: pair for key, pair in pairs.items() if key not in written})
        self._look_again(wrote)

    def _converted(self, item: Item) -> Item | None:
        if item.expires is None:
            self.tally.no_ttl += 1
        elif (self._dest.rounded(item.expires) or 0) <= now():
            self.tally.expired += 1
            return None
        try:
            if item.raw is NO_VALUE:
                raise Rejected("it is no value but a structure of the server's own")
            raw = item.raw if self._verbatim else self._dest.wrap(self._source.unwrap(item.raw))
            new = item._replace(raw=raw)
            if problem := self._dest.fits(new):
                raise Rejected(problem)
        except Rejected as error:
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
            if not wrote:
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


def tally_counts(tally: CacheTally) -> dict[str, int]:
    """Return the counts of a tally by name."""
    return {item.name: getattr(tally, item.name) for item in fields(tally) if item.name != "problems"}
