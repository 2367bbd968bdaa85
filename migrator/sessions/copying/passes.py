"""Passes over the source, in one process or several, and the sweep that ends what the source has ended."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ...clock import now
from ...processes.prefetch import read_ahead
from ...stores.base import Share
from ..places import open_end
from ..records import CopyOptions, End, SessionCounts, SessionRecord
from ..stores.base import pages_of
from .manifest import Entry, Manifest
from .page_copier import SessionPageCopier
from .page_writer import WriterThread
from .preflight import check_places

if TYPE_CHECKING:
    from ..stores.base import Store

COLLECT_EVERY_PAGES = 50
Tick = Callable[[int], None]
Check = Callable[[], None]


class Pace:
    """Holds a pass to a number of sessions in a second."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._started = time.monotonic()
        self._count = 0

    def wait(self, count: int) -> None:
        """Sleep until ``count`` more sessions are due."""
        if self._rate:
            self._count += count
            time.sleep(max(self._started + self._count / self._rate - time.monotonic(), 0))


def copy_share(
    *,
    ends: tuple[End, End],
    source: Store,
    dest: Store,
    options: CopyOptions,
    manifest: Manifest | None,
    dest_is_empty: bool,
    share: Share,
    tick: Tick,
    check: Check,
) -> SessionCounts:
    """Copy one share of the sessions once."""
    tally = SessionCounts()
    copier = SessionPageCopier(
        source=source, dest=dest, options=options, tally=tally, manifest=manifest, dest_is_empty=dest_is_empty
    )
    pace = Pace(options.rate / share.count if options.rate else None)
    overlaps = copier.can_overlap and source.can_open_again and dest.can_open_again
    with garbage_left_for_later(), ExitStack() as stack:
        pages = stack.enter_context(closing(_pages_of(ends[0], source, options, share)))
        writer = stack.enter_context(closing(WriterThread(ends, options, tally))) if overlaps else None
        for number, page in enumerate(pages):
            if writer:
                writer.write(copier.prepare(page))
            else:
                copier.copy(page)
            tick(len(page))
            pace.wait(len(page))
            check()
            if number % COLLECT_EVERY_PAGES == 0:
                gc.collect()
        if writer:
            writer.finish()
    tally.losses += dest.losses
    dest.losses.clear()
    return tally


def _pages_of(end: End, source: Store, options: CopyOptions, share: Share) -> Generator[list[SessionRecord]]:
    """Read the pages of a share ahead, where the source can be opened once more for that."""
    if not source.can_open_again:
        return _pages(source, options, share)

    def pages() -> Generator[list[SessionRecord]]:
        with closing(open_end(end, options)) as opened:
            yield from _pages(opened, options, share)

    return read_ahead(pages)


def _pages(source: Store, options: CopyOptions, share: Share) -> Generator[list[SessionRecord]]:
    """Read the pages of a share, as far as the options want them."""
    left = options.limit
    for page in source.pages(options.chunk_size, share):
        chosen = [session for session in page if session.key.startswith(options.match)] if options.match else page
        if left is not None:
            chosen = chosen[:left]
            left -= len(chosen)
        yield chosen
        if left == 0:
            return


@contextmanager
def garbage_left_for_later() -> Iterator[None]:
    """Keep the garbage collector from looking through each page: pages hold no cycles, and it costs a fifth."""
    was_enabled = gc.isenabled()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()


def copy_share_afresh(
    *,
    source: End,
    dest: End,
    options: CopyOptions,
    manifest: Path | None,
    dest_is_empty: bool,
    share: Share,
    tick: Tick,
) -> SessionCounts:
    """Open the ends anew and copy one share: the work of a process of its own."""
    with ExitStack() as stack:
        opened, target = (stack.enter_context(closing(open_end(end, options))) for end in (source, dest))
        check_places(opened, target)
        noted = stack.enter_context(Manifest(manifest, identity_of(opened, target))) if manifest else None
        return copy_share(
            ends=(source, dest),
            source=opened,
            dest=target,
            options=options,
            manifest=noted,
            dest_is_empty=dest_is_empty,
            share=share,
            tick=tick,
            check=lambda: None,
        )


def sweep(*, source: Store, dest: Store, options: CopyOptions, manifest: Manifest, check: Check) -> SessionCounts:
    """End in the destination what this copy wrote there, nobody has changed since, and the source has ended."""
    tally = SessionCounts()
    for keys in _all_keys(dest, options.chunk_size):
        noted = manifest.lookup(keys)
        still = source.present(list(noted))
        gone = [key for key in noted if key not in still]
        there = dest.fetch(gone)
        missed = _missed(noted, there, dest) if options.after_switch else set()
        for key in () if options.end_missed else sorted(missed):
            tally.missed += 1
            tally.list(key, "ended in the source, and changed here since")
        kept = set() if options.end_missed else missed
        ended = [held for key, held in there.items() if key in missed - kept or noted[key].wrote(held, dest)]
        tally.removed += len(dest.discard(ended)) if ended else 0
        manifest.forget(key for key in gone if key not in kept)
        check()
    return tally


def _missed(noted: Mapping[str, Entry], there: Mapping[str, SessionRecord], dest: Store) -> set[str]:
    """Return the sessions that the source ended before it would have, and that live on here in another state.

    A worker that used the source ended them while another one that used the destination had saved them.
    """
    moment = now()

    def is_missed(entry: Entry, held: SessionRecord) -> bool:
        has_expired = entry.source_expires is not None and entry.source_expires <= moment
        return entry.confirmed and not has_expired and not entry.wrote(held, dest)

    return {key for key, held in there.items() if is_missed(noted[key], held)}


def _all_keys(store: Store, size: int) -> Iterator[list[str]]:
    """List the keys of a place, then those that do not look like its engine's: a table may have brought such."""
    yield from store.keys(size)
    yield from pages_of(sorted(store.hidden), size)


def identity_of(source: Store, dest: Store) -> str:
    """Name a copy by its two places."""
    return f"{source.label()} to {dest.label()}"
