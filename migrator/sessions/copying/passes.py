"""What a pass does to sessions, and the sweep that ends what the source has ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from ...clock import now
from ...stores.base import Record, Share, Store, batches
from ...stores.copying.page_copier import Page, PageCopier
from ...stores.copying.passes import Check, CopyContext
from ...stores.copying.records import CopyCounts
from ..convert import Converter
from ..records import CopyOptions
from ..stores.base import BaseSessionStore
from .conflict_rules import SessionRules
from .manifest import Entry, Manifest
from .preflight import check_stores


@dataclass(frozen=True)
class SessionCopy(CopyContext[BaseSessionStore]):
    """A copy of sessions. ``manifest``: the file in which a pass notes what it writes."""

    options: CopyOptions
    manifest: Path | None = None
    dest_is_empty: bool = False

    def check(self, source: BaseSessionStore, dest: BaseSessionStore) -> None:
        check_stores(source, dest)

    def pages(self, source: BaseSessionStore, share: Share) -> Iterator[Page]:
        left, match = self.options.limit, self.options.match
        for page in source.pages(self.options.page_size, share):
            chosen = [session for session in page if session.key.startswith(match)] if match else page
            if left is not None:
                chosen = chosen[:left]
                left -= len(chosen)
            yield Page(chosen)
            if left == 0:
                return

    @contextmanager
    def copier(self, source: BaseSessionStore, dest: BaseSessionStore, counts: CopyCounts) -> Iterator[PageCopier]:
        convert = Converter(source, dest, self.options).convert
        noted = Manifest(self.manifest, identity_of(source, dest)) if self.manifest else nullcontext()
        with noted as manifest:
            rules = SessionRules(source, dest, self.options, manifest=manifest, dest_is_empty=self.dest_is_empty)
            yield PageCopier(source, dest, convert, rules, counts)

    def share(self, index: int) -> Share:
        return Share(index, self.options.jobs)


def sweep(source: Store, dest: BaseSessionStore, options: CopyOptions, manifest: Manifest, check: Check) -> CopyCounts:
    """End in the destination what this copy wrote, no one has changed since, and the source has ended."""
    counts = CopyCounts()
    for keys in _all_keys(dest, options.chunk_size):
        noted = manifest.lookup(keys)
        still = source.present(list(noted))
        gone = [key for key in noted if key not in still]
        there = dest.fetch(gone)
        missed = _missed(noted, there, dest) if options.after_switch else set()
        for key in () if options.end_missed else sorted(missed):
            counts.missed += 1
            counts.list(key, "ended in the source, and changed here since")
        kept = set() if options.end_missed else missed
        ended = [held for key, held in there.items() if key in missed - kept or noted[key].wrote(held, dest)]
        counts.removed += len(dest.discard(ended)) if ended else 0
        manifest.forget(key for key in gone if key not in kept)
        check()
    return counts


def _missed(noted: Mapping[str, Entry], there: Mapping[str, Record], dest: Store) -> set[str]:
    """Return the keys of sessions that the source ended before they expired, and that live on here in another state.

    A worker that used the source ended them, while one that used the destination had saved them.
    """
    moment = now()

    def is_missed(entry: Entry, held: Record) -> bool:
        has_expired = entry.source_expires is not None and entry.source_expires <= moment
        return entry.confirmed and not has_expired and not entry.wrote(held, dest)

    return {key for key, held in there.items() if is_missed(noted[key], held)}


def _all_keys(store: BaseSessionStore, size: int) -> Iterator[list[str]]:
    """Yield the keys of a store, then those that do not look like its engine's: a table may have brought such."""
    yield from store.keys(size)
    yield from batches(sorted(store.hidden), size)


def identity_of(source: Store, dest: Store) -> str:
    """Return the name of a copy: its two stores."""
    return f"{source.label()} to {dest.label()}"
