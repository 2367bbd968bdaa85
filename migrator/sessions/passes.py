"""Passes over the source, in one process or several, and the sweep that ends what the source has ended."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..caches.stores.base import Share
from .ends import open_end
from .guards import check_places
from .manifest import Manifest
from .pages import PageCopier
from .records import CopyOptions, End, Session, Tally

if TYPE_CHECKING:
    from .stores.base import Store

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
    source: Store,
    dest: Store,
    options: CopyOptions,
    manifest: Manifest | None,
    dest_is_empty: bool,
    share: Share,
    tick: Tick,
    check: Check,
) -> Tally:
    """Copy one share of the sessions once."""
    tally = Tally()
    copier = PageCopier(
        source=source, dest=dest, options=options, tally=tally, manifest=manifest, dest_is_empty=dest_is_empty
    )
    pace = Pace(options.rate / share.count if options.rate else None)
    left = options.limit
    with garbage_left_for_later():
        for number, page in enumerate(source.pages(options.chunk_size, share)):
            chosen = _chosen(page, options.match, left)
            copier.copy(chosen)
            tick(len(chosen))
            pace.wait(len(chosen))
            check()
            if left is not None:
                left -= len(chosen)
                if left <= 0:
                    break
            if number % COLLECT_EVERY_PAGES == 0:
                gc.collect()
    tally.losses += dest.losses
    dest.losses.clear()
    return tally


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


def _chosen(page: list[Session], match: str, left: int | None) -> list[Session]:
    matching = [session for session in page if session.key.startswith(match)] if match else page
    return matching if left is None else list(islice(matching, left))


def copy_share_afresh(
    *,
    source: End,
    dest: End,
    options: CopyOptions,
    manifest: Path | None,
    dest_is_empty: bool,
    share: Share,
    tick: Tick,
) -> Tally:
    """Open the ends anew and copy one share: the work of a process of its own."""
    with ExitStack() as stack:
        opened, target = (stack.enter_context(closing(open_end(end, options))) for end in (source, dest))
        check_places(opened, target)
        noted = stack.enter_context(Manifest(manifest, identity_of(opened, target))) if manifest else None
        return copy_share(
            source=opened,
            dest=target,
            options=options,
            manifest=noted,
            dest_is_empty=dest_is_empty,
            share=share,
            tick=tick,
            check=lambda: None,
        )


def sweep(*, source: Store, dest: Store, options: CopyOptions, manifest: Manifest, check: Check) -> Tally:
    """End in the destination what this copy wrote there, nobody has changed since, and the source has ended."""
    tally = Tally()
    for keys in dest.keys(options.chunk_size):
        noted = manifest.lookup(keys)
        still = source.fetch(list(noted))
        gone = [key for key in noted if key not in still]
        ours = [held for key, held in dest.fetch(gone).items() if noted[key].wrote(held, dest)]
        tally.removed += len(dest.discard(ours)) if ours else 0
        manifest.forget(gone)
        check()
    return tally


def identity_of(source: Store, dest: Store) -> str:
    """Name a copy by its two places."""
    return f"{source.label()} to {dest.label()}"
