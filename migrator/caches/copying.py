"""A cache copied to another: raw values and their exact time to live, never read as objects."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

from .. import conf
from ..console.interrupts import stopping_between_pages
from ..console.progress import Progress
from ..console.prompts import Prompter
from ..console.wording import plural
from ..errors import Declined, Refused
from ..processes.workers import Work, can_fork, run_side_by_side
from ..server_errors import telling_of_outages
from ..stores import open_store
from ..stores.base import WHOLE, KeyStore, RejectedItem, ScatteredShare, Share
from ..stores.key_space import KeySpace, is_bookkeeping, key_space, unlisted_key_space
from .page_copier import CachePageCopier, pages_of
from .records import CacheCounts, CacheOptions, CachePlan, CacheResult

Tick = Callable[[int], None]
Check = Callable[[], None]


@telling_of_outages()
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
    with closing(_opened(source)) as opened, closing(_opened(dest)) as target:
        ours, theirs = _space(opened, options), _plain_space(target, options)
        plan = _planned(opened, target, ours, theirs, options)
        show(plan)
        if options.dry_run:
            return CacheResult(plan, is_dry_run=True)
        if not prompter.proceed(f"Copy the cache {source!r} to {dest!r}?"):
            raise Declined("Nothing was written.")
        started, evicted = time.monotonic(), target.evictions()
        with stopping_between_pages() as check, progress.task("keys", plan.in_source, unit="keys") as task:
            if _shares(opened, options) == 1:
                tally = _copied(opened, target, replace(options, jobs=1), WHOLE, task.advance, check)
            else:
                tally = _side_by_side(source, dest, options, task.advance, check)
        return CacheResult(plan, tally, time.monotonic() - started, max(target.evictions() - evicted, 0))


def _opened(alias: str) -> KeyStore:
    store = open_store(alias=alias)
    store.demand_all()
    return store


def _shares(source: KeyStore, options: CacheOptions) -> int:
    """Return in how many parts the keys are copied at once."""
    can_share = can_fork() and source.can_share and options.limit is None
    return options.jobs if can_share else 1


def _side_by_side(source: str, dest: str, options: CacheOptions, tick: Tick, check: Check) -> CacheCounts:
    def of_share(index: int) -> Work[CacheCounts]:
        def work(tick: Tick) -> CacheCounts:
            with closing(_opened(source)) as opened, closing(_opened(dest)) as target:
                return _copied(opened, target, options, ScatteredShare(index, options.jobs), tick, lambda: None)

        return work

    total = CacheCounts()
    for tally in run_side_by_side([of_share(index) for index in range(options.jobs)], tick, check):
        total.add(tally)
    return total


def _copied(
    source: KeyStore, dest: KeyStore, options: CacheOptions, share: Share, tick: Tick, check: Check
) -> CacheCounts:
    """Copy one share of the keys."""
    ours, started = _space(source, options), time.monotonic()
    copier = CachePageCopier(source, dest, ours, _plain_space(dest, options), options)
    for page in pages_of(source, ours, options, share):
        copier.copy(page)
        tick(len(page))
        copier.keep_pace(started)
        check()
    return copier.tally


def _space(store: KeyStore, options: CacheOptions) -> KeySpace:
    if options.keys_from is not None:
        return unlisted_key_space(store.cache.make_key, prefix=options.match)
    if not store.can_list_keys:
        raise Refused(
            f"The keys of the cache {store.alias!r} cannot be listed: {store.why_unlisted()}. "
            "Give them with --keys-from FILE."
        )
    return key_space(store.cache.make_key, alias=store.alias, prefix=options.match)


def _plain_space(store: KeyStore, options: CacheOptions) -> KeySpace:
    return unlisted_key_space(store.cache.make_key, prefix=options.match)


def _planned(source: KeyStore, dest: KeyStore, ours: KeySpace, theirs: KeySpace, options: CacheOptions) -> CachePlan:
    if source.identities() & dest.identities():
        _check_apart(source, ours, theirs)
    if dest.database in conf.load().PROTECTED:
        raise Refused(
            f"MIGRATOR['PROTECTED'] names the database {dest.database!r}, which holds the cache {dest.alias!r}; "
            "it may never be a destination."
        )
    for store, space in ((source, ours), (dest, theirs)):
        if reason := store.blind_spot(space):
            raise Refused(f"The cache {store.alias!r} cannot be copied: {reason}. Nothing was written.")
    if reason := dest.refusal(theirs):
        raise Refused(f"Nothing can be written to the cache {dest.alias!r}: {reason}.")
    in_source, own = _counted(source, ours, options)
    _check_room(source, dest, ours, theirs, options)
    encoding = _check_encoding(source, dest, ours, options)
    notes = [*source.notes(), *dest.notes()]
    if not ours.is_stock:
        notes.append(
            f"{source.alias!r} has a KEY_FUNCTION of its own: keys that it makes for another tenant do not look like "
            f"{ours.raw('…')} and are not copied"
        )
    if options.jobs > _shares(source, options):
        notes.append("one process copies: this source, platform or --limit does not let several share the work")
    return CachePlan(
        f"cache {source.alias!r} ({source.address()}), keys {ours.raw('…')}",
        f"cache {dest.alias!r} ({dest.address()}), keys {theirs.raw('…')}",
        in_source,
        encoding,
        tuple(notes),
        options,
        own,
    )


def _counted(source: KeyStore, ours: KeySpace, options: CacheOptions) -> tuple[int | None, int]:
    """Count the keys of the source, None for given ones, and those that migrator keeps there for itself."""
    if options.keys_from:
        return None, 0
    count = own = 0
    for page in source.list_keys(ours, 10_000):
        kept = sum(is_bookkeeping(options.match + key) for key in page)
        count, own = count + len(page) - kept, own + kept
    return count, own


def _check_room(source: KeyStore, dest: KeyStore, ours: KeySpace, theirs: KeySpace, options: CacheOptions) -> None:
    """Refuse a destination that would drop keys, be they others' or those that come."""
    capacity = dest.capacity()
    if capacity is None:
        return
    held, coming = dest.held(), 0
    for page in pages_of(source, ours, options):
        coming += len(set(page) - (dest.present(theirs, page) if held else set()))
    if held + coming > capacity:
        raise Refused(
            f"The cache {dest.alias!r} keeps {capacity:,} entries (MAX_ENTRIES) and drops others. It holds {held:,}, "
            f"and {plural(coming, 'key')} would be added. Raise MAX_ENTRIES in its OPTIONS above the sum, for good."
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
    for page in pages_of(source, ours, options):
        for item in source.fetch(ours, page[:20]).values():
            try:
                dest.wrap(source.unwrap(item.raw))
            except RejectedItem as error:
                raise Refused(
                    f"Values of {source.alias!r} ({source.encoding()}) cannot go to {dest.alias!r} ({dest.encoding()}) "
                    f"unread: {error}. Give both caches the same serializer for the move, or change from one to the "
                    "other with a TransitionCache, which reads and writes values by both backends."
                ) from None
        break
    return f"from {source.encoding()} to {dest.encoding()}, the pickles within unread"
