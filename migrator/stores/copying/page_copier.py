"""A page of records copied: converted, written where nothing newer is, and compared with the source once more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, TypeVar

from django.db import DataError, IntegrityError

from ...clock import now
from ..base import Record, RecordProblem, Store
from .records import CopyCounts

# How often a record is followed that changes whenever it is compared again; a later pass sees it again.
ROUNDS = 5
# What was read and what is written, by key.
Pairs = dict[str, tuple[Record, Record]]
Given = TypeVar("Given")
Write = Callable[[Sequence[Given]], set[str]]
# Returns what to write for a record at about that moment, and counts; raises Expired or RecordProblem if nothing is.
Convert = Callable[[Record, CopyCounts, int], Record]


class Expired(Exception):
    """A record's time to live is over."""


class Page(NamedTuple):
    """Records as they were read; ``gone`` counts the keys that were listed and no longer existed."""

    records: Sequence[Record]
    gone: int = 0

    def __len__(self) -> int:
        return len(self.records) + self.gone


class Prepared(NamedTuple):
    """A page ready to be written: new records, and those that overwrite what was seen in the destination."""

    new: Pairs
    changed: Pairs
    seen: Mapping[str, Record]


class CopyRules:
    """What becomes of a record that the destination has already."""

    # Whether a page is compared with the destination before it is written.
    compares_first = False

    def sort_out(
        self, page: Sequence[Record], counts: CopyCounts
    ) -> tuple[Sequence[Record], Sequence[tuple[Record, Record]]]:
        """Return the records to add, and those to overwrite with what the destination has; count the others."""
        return page, []

    def handle_present(self, pairs: Pairs, counts: CopyCounts) -> Pairs:
        """Handle the records that were not added, by key; return those that were written after all."""
        raise NotImplementedError

    def count_written(self, records: Iterable[Record], counts: CopyCounts) -> None:
        """Count what is notable of the records that a page has written."""

    def noting(self, pairs: Iterable[tuple[Record, Record]]) -> AbstractContextManager[object]:
        """Note for later passes what is written within the context."""
        return nullcontext()

    def forget(self, keys: Iterable[str]) -> None:
        """Forget what was noted of records that were removed."""


class PageCopier:
    """Copies pages from one store to another. A page may be copied twice, or partly and then again."""

    def __init__(self, source: Store, dest: Store, convert: Convert, rules: CopyRules, counts: CopyCounts) -> None:
        self._source, self._dest = source, dest
        self._convert, self._rules, self._counts = convert, rules, counts

    @property
    def can_overlap(self) -> bool:
        """Whether a page can be prepared while the previous one is still being written."""
        return not self._rules.compares_first

    def copy(self, page: Page) -> None:
        """Copy one page, and count."""
        self.write(self.prepare(page))

    def prepare(self, page: Page) -> Prepared:
        """Convert a page; nothing is written."""
        self._counts.read += len(page)
        self._counts.expired += page.gone
        fresh, stale = self._rules.sort_out(page.records, self._counts)
        changed = self._converted([record for record, _ in stale])
        return Prepared(self._converted(fresh), changed, {record.key: held for record, held in stale})

    def write(self, page: Prepared) -> None:
        """Write a page, and compare its records with the source again."""
        with self._rules.noting([*page.new.values(), *page.changed.values()]):
            wrote = self._add(page.new)
            wrote |= self._replace(page.seen, page.changed)
            self._rules.count_written((new for _, new in wrote.values()), self._counts)
            self.compare_again(wrote)

    def _converted(self, records: Sequence[Record]) -> Pairs:
        found: Pairs = {}
        moment, convert, counts = now(), self._convert, self._counts
        for record in records:
            try:
                found[record.key] = (record, convert(record, counts, moment))
            except Expired:
                counts.expired += 1
            except RecordProblem as problem:
                counts.note(record.key, problem)
        return found

    # Writing

    def _add(self, pairs: Pairs) -> Pairs:
        if not pairs:
            return {}
        added, rejected = self._written(self._dest.add, [(key, new) for key, (_, new) in pairs.items()])
        self._counts.written += len(added)
        wrote = {key: pair for key, pair in pairs.items() if key in added}
        if left := {key: pair for key, pair in pairs.items() if key not in added and key not in rejected}:
            wrote |= self._rules.handle_present(left, self._counts)
        return wrote

    def _replace(self, seen: Mapping[str, Record], pairs: Pairs) -> Pairs:
        """Overwrite what the destination still holds as seen."""
        changed, _ = self._written(self._dest.replace, [(key, (seen[key], new)) for key, (_, new) in pairs.items()])
        self._counts.refreshed += len(changed)
        return {key: pair for key, pair in pairs.items() if key in changed}

    def _written(self, write: Write[Given], given: Sequence[tuple[str, Given]]) -> tuple[set[str], set[str]]:
        """Write what is given by key; return the keys written, and those that a table rejects, which are noted.

        A table rejects a page as a whole, so that its records are then written one by one.
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
                problem = RecordProblem("unfit", f"the table rejects its row ({type(error).__name__})")
                self._counts.note(key, problem)
                return set(), {key}
        parts = [self._written(write, [one]) for one in given]
        return set().union(*(written for written, _ in parts)), set().union(*(rejected for _, rejected in parts))

    def compare_again(self, wrote: Pairs) -> None:
        """Remove what the source has dropped since it was read, and follow what it has changed.

        The destination is changed only if it still holds what was written here: any other writer knew better.
        """
        for _ in range(ROUNDS):
            if not wrote or self._source.are_as_seen([read for read, _ in wrote.values()]):
                return
            current = self._source.fetch(list(wrote))
            dropped = {key: pair for key, pair in wrote.items() if key not in current}
            moved = [record for key, record in current.items() if not self._source.same(record, wrote[key][0])]
            if dropped:
                self._remove(dropped)
            wrote = self._follow(moved, wrote) if moved else {}

    def _remove(self, pairs: Pairs) -> None:
        moment = now()
        # What has expired in the source expires in the destination as well.
        dropped = [written for read, written in pairs.values() if read.expires is None or read.expires > moment]
        if dropped:
            discarded = self._dest.discard(dropped)
            self._counts.removed += len(discarded)
            self._rules.forget(discarded)  # what was changed here meanwhile is compared at the end of the pass

    def _follow(self, records: Sequence[Record], wrote: Pairs) -> Pairs:
        found = self._converted(records)
        lost = [wrote[record.key][1] for record in records if record.key not in found]
        if lost:
            self._dest.discard(lost)
        with self._rules.noting(found.values()):
            return self._replace({key: wrote[key][1] for key in found}, found)
