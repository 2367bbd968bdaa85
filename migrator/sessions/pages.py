"""A page of sessions copied: read, converted, written where nothing newer is, and looked at again in the source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..caches.stores.base import now
from .codec import saved_at
from .convert import Converter, Expired
from .records import CopyOptions, Problem, Session, Tally

if TYPE_CHECKING:
    from .manifest import Manifest
    from .stores.base import Store

# How often a session is followed that changes each time it is looked at; a later pass sees it again.
ROUNDS = 5
Pairs = dict[str, tuple[Session, Session]]


class PageCopier:
    """Copies pages from one place to another. A page may be copied twice, or half and then again."""

    def __init__(
        self,
        *,
        source: Store,
        dest: Store,
        options: CopyOptions,
        tally: Tally,
        manifest: Manifest | None,
        dest_is_empty: bool,
    ) -> None:
        self._source, self._dest, self._options = source, dest, options
        self._tally, self._manifest = tally, manifest
        self._looks_first = bool(manifest) or options.overwrite_older or not dest_is_empty
        self._converter = Converter(source, dest, options)

    def copy(self, page: Sequence[Session]) -> None:
        """Copy one page, and count."""
        self._tally.read += len(page)
        fresh, stale = self._sort_out(page)
        new, changed = self._converted(fresh), self._converted([session for session, _ in stale])
        batch = self._manifest.intend([*new.values(), *changed.values()]) if self._manifest else 0
        wrote = self._add(new)
        seen = {session.key: there for session, there in stale}
        for key, (session, value) in changed.items():
            if self._dest.replace(seen[key], value):
                self._tally.refreshed += 1
                wrote[key] = (session, value)
        self.look_again(wrote)
        if self._manifest:
            self._manifest.confirm(batch)

    # What is to be done

    def _sort_out(self, page: Sequence[Session]) -> tuple[list[Session], list[tuple[Session, Session]]]:
        """Part a page into sessions to add, and those to write over what the destination holds of them."""
        if not self._looks_first:
            return list(page), []
        keys = [session.key for session in page]
        there = self._dest.fetch(keys)
        noted = self._manifest.lookup(keys) if self._manifest else {}
        fresh: list[Session] = []
        stale: list[tuple[Session, Session]] = []
        for session in page:
            entry, held = noted.get(session.key), there.get(session.key)
            if held is None:
                if entry and entry.confirmed and self._options.after_switch:
                    self._tally.ended += 1  # the destination was in use, and it was ended there
                else:
                    fresh.append(session)
            elif entry and entry.read(session, self._source):
                self._tally.unchanged += 1
            elif (entry and entry.wrote(held, self._dest)) or self._is_older(held, session):
                stale.append((session, held))
            else:
                self._tally.present += 1
        return fresh, stale

    def _is_older(self, held: Session, session: Session) -> bool:
        """Tell whether the destination's session was saved before the source's, as far as they say."""
        if not self._options.overwrite_older:
            return False
        if self._source.keeps_text and self._dest.keeps_text:
            theirs, ours = saved_at(str(held.payload)), saved_at(str(session.payload))
            if theirs is not None and ours is not None and theirs != ours:
                return theirs < ours
        # A later save ends later, unless its expiry is a fixed date.
        theirs, ours = self._dest.rounded(held.expires), self._dest.rounded(session.expires)
        return theirs is not None and ours is not None and theirs < ours

    def _converted(self, sessions: Sequence[Session]) -> Pairs:
        found: Pairs = {}
        for session in sessions:
            try:
                found[session.key] = (session, self._converter.convert(session, self._tally))
            except Expired:
                self._tally.expired += 1
            except Problem as problem:
                self._tally.note(session.key, problem)
        return found

    # Writing

    def _add(self, pairs: Pairs) -> Pairs:
        if not pairs:
            return {}
        written = self._dest.add([value for _, value in pairs.values()])
        self._tally.written += len(written)
        if len(written) < len(pairs):
            moment = now()
            for key, (_, value) in pairs.items():
                if key in written:
                    continue
                expires = self._dest.rounded(value.expires)
                if expires is not None and expires <= moment:
                    self._tally.expired += 1
                else:
                    self._tally.present += 1
        return {key: pair for key, pair in pairs.items() if key in written}

    def look_again(self, wrote: Pairs) -> None:
        """Take back what the source has ended since it was read, and follow what it has changed.

        The destination is changed only where it still holds what was written here: whoever else wrote knew better.
        """
        for _ in range(ROUNDS):
            if not wrote:
                return
            current = self._source.fetch(list(wrote))
            following: Pairs = {}
            for key, (read, written) in wrote.items():
                session = current.get(key)
                if session is None:
                    self._take_back(read, written)
                elif not self._source.same(session, read):
                    self._follow(session, written, following)
            wrote = following

    def _take_back(self, read: Session, written: Session) -> None:
        if read.expires is not None and read.expires <= now():
            return  # it has expired, here as there
        if self._dest.discard(written):
            self._tally.removed += 1
        if self._manifest:
            self._manifest.forget([read.key])

    def _follow(self, session: Session, written: Session, following: Pairs) -> None:
        found = self._converted([session])
        if session.key not in found:
            self._dest.discard(written)
            return
        value = found[session.key][1]
        batch = self._manifest.intend([(session, value)]) if self._manifest else 0
        if self._dest.replace(written, value):
            self._tally.refreshed += 1
            following[session.key] = (session, value)
        if self._manifest:
            self._manifest.confirm(batch)
