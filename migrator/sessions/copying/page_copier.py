"""A page of sessions copied: read, converted, written where nothing newer is, and looked at again in the source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from django.db import DataError, IntegrityError

from ...clock import now
from ..codec import saved_at
from ..convert import Converter, Expired
from ..records import CopyOptions, SessionCounts, SessionProblem, SessionRecord

if TYPE_CHECKING:
    from ..stores.base import Store
    from .manifest import Manifest

# How often a session is followed that changes each time it is looked at; a later pass sees it again.
ROUNDS = 5
Pairs = dict[str, tuple[SessionRecord, SessionRecord]]
Given = TypeVar("Given")
Write = Callable[[Sequence[Given]], set[str]]


class Prepared(NamedTuple):
    """A page ready to be written: new sessions, and those to write over what was seen in the destination."""

    new: Pairs
    changed: Pairs
    seen: Mapping[str, SessionRecord]


class SessionPageCopier:
    """Copies pages from one place to another. A page may be copied twice, or half and then again."""

    def __init__(
        self,
        *,
        source: Store,
        dest: Store,
        options: CopyOptions,
        tally: SessionCounts,
        manifest: Manifest | None,
        dest_is_empty: bool,
    ) -> None:
        self._source, self._dest, self._options = source, dest, options
        self._tally, self._manifest = tally, manifest
        self._looks_first = bool(manifest) or options.overwrite_older or not dest_is_empty
        self._converter = Converter(source, dest, options)

    @property
    def can_overlap(self) -> bool:
        """Whether a page can be prepared while the one before is still being written."""
        return not self._looks_first

    def copy(self, page: Sequence[SessionRecord]) -> None:
        """Copy one page, and count."""
        self.write(self.prepare(page))

    def prepare(self, page: Sequence[SessionRecord]) -> Prepared:
        """Read and convert a page; nothing is written."""
        self._tally.read += len(page)
        fresh, stale = self._sort_out(page)
        if len(fresh) + len(stale) < len(page):
            to_write = {session.key for session in (*fresh, *(one for one, _ in stale))}
            self._dest.uncache([session.key for session in page if session.key not in to_write])
        changed = self._converted([session for session, _ in stale])
        return Prepared(self._converted(fresh), changed, {session.key: there for session, there in stale})

    def write(self, page: Prepared) -> None:
        """Write a page, and look at its sessions in the source again."""
        batch = self._manifest.intend([*page.new.values(), *page.changed.values()]) if self._manifest else 0
        wrote = self._add(page.new)
        wrote |= self._replace(page.seen, page.changed)
        self.look_again(wrote)
        if self._manifest:
            self._manifest.confirm(batch)

    # What is to be done

    def _sort_out(
        self, page: Sequence[SessionRecord]
    ) -> tuple[list[SessionRecord], list[tuple[SessionRecord, SessionRecord]]]:
        """Part a page into sessions to add, and those to write over what the destination holds of them."""
        if not self._looks_first:
            return list(page), []
        keys = [session.key for session in page]
        there = self._dest.fetch(keys)
        noted = self._manifest.lookup(keys) if self._manifest else {}
        fresh: list[SessionRecord] = []
        stale: list[tuple[SessionRecord, SessionRecord]] = []
        for session in page:
            entry, held = noted.get(session.key), there.get(session.key)
            if held is None:
                if entry and entry.confirmed and self._options.after_switch:
                    self._tally.ended += 1  # the destination was in use, and it was ended there
                else:
                    fresh.append(session)
            elif entry and entry.confirmed and entry.read(session, self._source):
                self._tally.unchanged += 1
            elif (entry and entry.wrote(held, self._dest)) or self._is_older(held, session):
                stale.append((session, held))
            else:
                self._tally.present += 1
        return fresh, stale

    def _is_older(self, held: SessionRecord, session: SessionRecord) -> bool:
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

    def _converted(self, sessions: Sequence[SessionRecord]) -> Pairs:
        found: Pairs = {}
        moment, convert, tally = now(), self._converter.convert, self._tally
        for session in sessions:
            try:
                found[session.key] = (session, convert(session, tally, moment))
            except Expired:
                self._tally.expired += 1
            except SessionProblem as problem:
                self._tally.note(session.key, problem)
        return found

    # Writing

    def _add(self, pairs: Pairs) -> Pairs:
        if not pairs:
            return {}
        written, refused = self._written(self._dest.add, [(key, value) for key, (_, value) in pairs.items()])
        self._tally.written += len(written)
        if len(written) < len(pairs):
            moment = now()
            for key, (_, value) in pairs.items():
                if key in written or key in refused:
                    continue
                expires = self._dest.rounded(value.expires)
                if expires is not None and expires <= moment:
                    self._tally.expired += 1
                else:
                    self._tally.present += 1
        return {key: pair for key, pair in pairs.items() if key in written}

    def _replace(self, seen: Mapping[str, SessionRecord], pairs: Pairs) -> Pairs:
        """Write over what is still as seen."""
        changed, _ = self._written(self._dest.replace, [(key, (seen[key], value)) for key, (_, value) in pairs.items()])
        self._tally.refreshed += len(changed)
        return {key: pair for key, pair in pairs.items() if key in changed}

    def _written(self, write: Write[Given], given: Sequence[tuple[str, Given]]) -> tuple[set[str], set[str]]:
        """Write what is given by key; return the keys written, and those whose rows the place refuses, which are noted.

        A page with such a row is refused as a whole, and its sessions are then written one by one.
        """
        if not given:
            return set(), set()
        losses = self._dest.losses.copy()
        try:
            return write([value for _, value in given]), set()
        except (DataError, IntegrityError, ValueError) as error:
            self._dest.losses = losses
            if len(given) == 1:
                key = given[0][0]
                self._tally.note(key, SessionProblem("unfit", f"the table refuses its row ({type(error).__name__})"))
                return set(), {key}
        parts = [self._written(write, [one]) for one in given]
        return set().union(*(written for written, _ in parts)), set().union(*(refused for _, refused in parts))

    def look_again(self, wrote: Pairs) -> None:
        """Take back what the source has ended since it was read, and follow what it has changed.

        The destination is changed only where it still holds what was written here: whoever else wrote knew better.
        """
        for _ in range(ROUNDS):
            if not wrote or self._source.are_as_seen([read for read, _ in wrote.values()]):
                return
            current = self._source.fetch(list(wrote))
            ended = [key for key in wrote if key not in current]
            moved = [session for key, session in current.items() if not self._source.same(session, wrote[key][0])]
            if ended:
                self._take_back({key: wrote[key] for key in ended})
            wrote = self._follow(moved, wrote) if moved else {}

    def _take_back(self, pairs: Pairs) -> None:
        moment = now()
        # What has expired in the source expires in the destination as well.
        ended = {key: pair for key, pair in pairs.items() if pair[0].expires is None or pair[0].expires > moment}
        if ended:
            discarded = self._dest.discard([written for _, written in ended.values()])
            self._tally.removed += len(discarded)
            if self._manifest:  # what was changed here in between is looked at once more at the end of the pass
                self._manifest.forget(discarded)

    def _follow(self, sessions: Sequence[SessionRecord], wrote: Pairs) -> Pairs:
        found = self._converted(sessions)
        lost = [wrote[session.key][1] for session in sessions if session.key not in found]
        if lost:
            self._dest.discard(lost)
        batch = self._manifest.intend(list(found.values())) if self._manifest else 0
        changed = self._replace({key: wrote[key][1] for key in found}, found)
        if self._manifest:
            self._manifest.confirm(batch)
        return changed
