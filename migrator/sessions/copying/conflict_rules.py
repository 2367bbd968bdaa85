"""Which of two states of a session wins, and what later passes know of this one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...clock import now
from ...stores.base import Record, RecordProblem
from ...stores.copying.page_copier import CopyRules, Pairs
from ...stores.copying.records import CopyCounts
from ..codec import UnreadableSession, saved_at
from ..records import CopyOptions

if TYPE_CHECKING:
    from ..stores.base import BaseSessionStore
    from .manifest import Manifest


class SessionRules(CopyRules):
    """Never overwrites anything newer, and never brings back what has ended."""

    def __init__(
        self,
        source: BaseSessionStore,
        dest: BaseSessionStore,
        options: CopyOptions,
        *,
        manifest: Manifest | None,
        dest_is_empty: bool,
    ) -> None:
        self._source, self._dest = source, dest
        self._options, self._manifest = options, manifest
        self.compares_first = bool(manifest) or options.overwrite_older or not dest_is_empty

    def sort_out(
        self, page: Sequence[Record], counts: CopyCounts
    ) -> tuple[Sequence[Record], Sequence[tuple[Record, Record]]]:
        if not self.compares_first:
            return page, []
        fresh, stale = self._compared(page, counts)
        if len(fresh) + len(stale) < len(page):
            to_write = {session.key for session in (*fresh, *(one for one, _ in stale))}
            self._dest.uncache([session.key for session in page if session.key not in to_write])
        return fresh, stale

    def _compared(self, page: Sequence[Record], counts: CopyCounts) -> tuple[list[Record], list[tuple[Record, Record]]]:
        keys = [session.key for session in page]
        there = self._dest.fetch(keys)
        noted = self._manifest.lookup(keys) if self._manifest else {}
        fresh: list[Record] = []
        stale: list[tuple[Record, Record]] = []
        equal: list[tuple[Record, Record]] = []
        for session in page:
            entry, held = noted.get(session.key), there.get(session.key)
            if held is None:
                if entry and entry.confirmed and self._options.after_switch:
                    counts.ended += 1  # the destination was in use, and it was ended there
                else:
                    fresh.append(session)
            elif entry and entry.confirmed and entry.read(session, self._source):
                counts.unchanged += 1
            elif (entry and entry.wrote(held, self._dest)) or self._is_older(held, session):
                stale.append((session, held))
            else:
                counts.present += 1
                if entry is None and self._manifest and self._is_equal(session, held):
                    equal.append((session, held))
        if equal and self._manifest:
            # An earlier copy without this manifest wrote them: later passes follow them as well.
            self._manifest.confirm(self._manifest.intend(equal))
        return fresh, stale

    def _is_equal(self, session: Record, held: Record) -> bool:
        """Whether both sides hold the same session, so that a pass may follow it as if it had written it."""
        if self._options.after_switch or not self._dest.same_expiry(session.expires, held.expires):
            return False
        try:
            return self._source.load(session) == self._dest.load(held)
        except (UnreadableSession, RecordProblem):
            return False

    def _is_older(self, held: Record, session: Record) -> bool:
        """Whether the destination's session was saved before the source's, as far as the two show it."""
        if not self._options.overwrite_older:
            return False
        if self._source.keeps_text and self._dest.keeps_text:
            theirs, ours = saved_at(str(held.raw)), saved_at(str(session.raw))
            if theirs is not None and ours is not None and theirs != ours:
                return theirs < ours
        # A later save expires later, unless its expiry is a fixed date.
        theirs, ours = self._dest.rounded(held.expires), self._dest.rounded(session.expires)
        return theirs is not None and ours is not None and theirs < ours

    def handle_present(self, pairs: Pairs, counts: CopyCounts) -> Pairs:
        moment = now()
        for _, new in pairs.values():
            expires = self._dest.rounded(new.expires)
            if expires is not None and expires <= moment:
                counts.expired += 1
            else:
                counts.present += 1
        return {}

    @contextmanager
    def noting(self, pairs: Iterable[tuple[Record, Record]]) -> Iterator[None]:
        if not self._manifest:
            yield
            return
        batch = self._manifest.intend(list(pairs))
        yield
        self._manifest.confirm(batch)

    def forget(self, keys: Iterable[str]) -> None:
        if self._manifest:
            self._manifest.forget(keys)
