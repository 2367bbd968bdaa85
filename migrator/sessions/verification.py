"""The sessions of two stores compared: missing ones, extra ones, different data, and different expiries."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from ..clock import MICROSECONDS_PER_SECOND, now
from ..console.interrupts import stopping_between_pages
from ..console.progress import Progress
from ..processes.prefetch import read_ahead
from ..processes.workers import Work, can_fork, run_side_by_side
from ..server_errors import reporting_outages
from ..stores.base import WHOLE, Record, RecordProblem, Share, digest
from ..stores.copying.passes import Check, Tick, garbage_left_for_later
from ..stores.copying.preflight import check_stores_differ
from .cached_entries import stale_before_rows
from .codec import UnreadableSession
from .comparison import SessionComparison, VerifyOptions, VerifyResult
from .copying.preflight import check_complete, check_keys, check_sight
from .endpoints import SessionEndpoint, key_regex_of, settled
from .hidden_sessions import hidden_in, nothing_found
from .records import End

if TYPE_CHECKING:
    from .stores.base import BaseSessionStore

# A session that differs may have been saved between the two reads.
SETTLE_SECONDS = 0.5
# How many sessions a page of the source has, those of them to compare, and what the destination holds of these.
Pair = tuple[int, list[Record], dict[str, Record]]


@reporting_outages()
def verify_sessions(
    *, source: End, dest: End, options: VerifyOptions | None = None, progress: Progress | None = None
) -> VerifyResult:
    """Compare two stores; what differs is compared again before it is reported.

    Raises what opening the ends raises, and :exc:`Refused` for one store given twice.
    """
    options, progress = options or VerifyOptions(), progress or Progress()
    source, dest = settled(source, dest)
    options = replace(options, key_regex=options.key_regex or key_regex_of(source, dest))
    one, other = (SessionEndpoint(end, options.key_regex, options.trust_pickle) for end in (source, dest))
    context = _CompareContext(one, other, options)
    with ExitStack() as stack:
        opened, target = stack.enter_context(context.opened())
        _check(opened, target)
        comparison = SessionComparison(opened.count(), target.count())
        context = replace(context, part=_part(options, comparison.in_source))
        started = time.monotonic()
        total = (comparison.in_source or 0) + (comparison.in_dest or 0 if target.can_list_keys else 0)
        check = stack.enter_context(stopping_between_pages())
        task = stack.enter_context(progress.task("compared", total, unit="sessions of both sides"))
        for part in _compare_all(context, opened, target, task.advance, check):
            comparison.add(part)
        comparison.seconds = time.monotonic() - started
        hidden = (*hidden_in(opened), *hidden_in(target))
        missing = "" if comparison.in_source else nothing_found(opened)
        is_served = options.served and options.mode == "full"
        stale = stale_before_rows(dest, trust_pickle=options.trust_pickle) if is_served else None
        return VerifyResult(
            opened.label(),
            target.label(),
            options,
            comparison,
            hidden=hidden,
            stale=stale or 0,
            has_given_keys=opened.has_given_keys,
            is_one_sided=not (target.can_list_keys or target.has_given_keys),
            nothing_found=missing,
        )


def _check(source: BaseSessionStore, dest: BaseSessionStore) -> None:
    check_stores_differ(source, dest, "Source and destination")
    check_keys(source, dest)
    check_sight(source, dest)
    check_complete(source)


@dataclass(frozen=True)
class _CompareContext:
    """A comparison: its two endpoints, how to compare, and the part of all sessions that is compared."""

    source: SessionEndpoint
    dest: SessionEndpoint
    options: VerifyOptions
    part: float = 1.0

    @contextmanager
    def opened(self) -> Iterator[tuple[BaseSessionStore, BaseSessionStore]]:
        """Open both stores."""
        with closing(self.source.open()) as source, closing(self.dest.open()) as dest:
            yield source, dest


def _compare_all(
    context: _CompareContext, source: BaseSessionStore, dest: BaseSessionStore, tick: Tick, check: Check
) -> list[SessionComparison]:
    """Compare in this process, or a share in each of several."""
    jobs = context.options.jobs
    if jobs == 1 or not (can_fork() and source.can_share and dest.can_share):
        return [_compare(context, source, dest, WHOLE, tick, check)]

    def of_share(index: int) -> Work[SessionComparison]:
        def work(tick: Tick) -> SessionComparison:
            with context.opened() as (source, dest):
                return _compare(context, source, dest, Share(index, jobs), tick, lambda: None)

        return work

    return run_side_by_side([of_share(index) for index in range(jobs)], tick, check)


def _compare(
    context: _CompareContext,
    source: BaseSessionStore,
    dest: BaseSessionStore,
    share: Share,
    tick: Tick,
    check: Check,
) -> SessionComparison:
    """Compare one share from both sides."""
    comparison = SessionComparison()
    comparer = _Comparer(source, dest, context.options, comparison, context.part)
    with garbage_left_for_later():
        with closing(_pairs_of(context, source, dest, share)) as pairs:
            comparer.compare_source(pairs, tick, check)
        if dest.can_list_keys or dest.has_given_keys:
            comparer.compare_dest(share, tick, check)
    return comparison


def _pairs_of(
    context: _CompareContext, source: BaseSessionStore, dest: BaseSessionStore, share: Share
) -> Generator[Pair]:
    """Read the pages of a share from both sides, ahead if both can be opened once more for that."""

    def pairs(source: BaseSessionStore, dest: BaseSessionStore) -> Generator[Pair]:
        for page in source.pages(context.options.chunk_size, share):
            chosen = [session for session in page if _is_in_sample(session.key, context.part)]
            yield len(page), chosen, dest.fetch([session.key for session in chosen])

    def pairs_of_others() -> Generator[Pair]:
        with context.opened() as (one, other):
            yield from pairs(one, other)

    can_read_ahead = source.can_open_again and dest.can_open_again
    return read_ahead(pairs_of_others) if can_read_ahead else pairs(source, dest)


class _Comparer:
    def __init__(
        self,
        source: BaseSessionStore,
        dest: BaseSessionStore,
        options: VerifyOptions,
        comparison: SessionComparison,
        part: float,
    ) -> None:
        self._source, self._dest, self._options, self._found = source, dest, options, comparison
        self._is_full = options.mode == "full"
        self._verbatim = dest.takes_verbatim(source)
        self._chosen: Callable[[str], bool] = partial(_is_in_sample, part=part)

    def compare_source(self, pairs: Iterable[Pair], tick: Tick, check: Check) -> None:
        """Find what is missing or differs in the destination."""
        for count, sessions, there in pairs:
            suspects = self._compare(sessions, there)
            if suspects:
                self._settle(suspects)
            tick(count)
            check()

    def compare_dest(self, share: Share, tick: Tick, check: Check) -> None:
        """Find what only the destination has."""
        for page in self._dest.keys(self._options.chunk_size, share):
            keys = [key for key in page if self._chosen(key)]
            known = self._source.present(keys)
            extra = [key for key in keys if key not in known]
            if self._dest.has_given_keys and extra:
                extra = list(self._dest.present(extra))
            if extra:
                time.sleep(SETTLE_SECONDS)
                known, still = self._source.present(extra), self._dest.present(extra)
                for key in extra:
                    if key in still and key not in known:
                        self._found.note("extra", key, "only in the destination")
            tick(len(self._dest.present(page) if self._dest.has_given_keys else page))
            check()

    def _compare(self, sessions: list[Record], there: Mapping[str, Record]) -> list[str]:
        suspects = []
        for session in sessions:
            if self._difference(session, there.get(session.key)) is None:
                self._found.compared += 1
                self._found.equal += 1
            else:
                suspects.append(session.key)
        return suspects

    def _settle(self, keys: list[str]) -> None:
        """Read what differed once more, when a save in progress has ended."""
        time.sleep(SETTLE_SECONDS)
        source, dest = self._source.read(keys), self._dest.fetch(keys)
        for key in keys:
            if key not in source:
                continue  # ended or expired meanwhile; compare_dest() finds what was left in the destination
            self._found.compared += 1
            difference = self._difference(source[key], dest.get(key))
            if difference is None:
                self._found.equal += 1
            else:
                self._found.note(difference[0], key, difference[1])

    def _difference(self, one: Record, other: Record | None) -> tuple[str, str] | None:
        if other is None:
            return self._missing(one)
        if expiry := self._expiry_difference(one, other):
            return "expiry_differs", expiry
        return self._data_difference(one, other) if self._is_full else None

    def _missing(self, session: Record) -> tuple[str, str] | None:
        expires = self._dest.rounded(session.expires)
        if expires is not None and expires <= now():
            return None
        if self._is_full:
            try:
                self._source.load(session)
            except (UnreadableSession, RecordProblem) as error:
                return "unreadable", f"unreadable in the source, and missing in the destination: {error}"
        return "missing", "missing in the destination"

    def _expiry_difference(self, one: Record, other: Record) -> str | None:
        if one.expires is None or other.expires is None:
            if one.expires is None and other.expires is not None:
                self._found.without_ttl += 1  # the options of the copy decided what such a session becomes
                return None
            return None if self._same_by(self._dest, one, other) else "has no time to live in the destination"
        if self._options.ttl_tolerance is not None:
            late = abs(other.expires - one.expires) > self._options.ttl_tolerance * MICROSECONDS_PER_SECOND
        else:
            late = not (self._same_by(self._dest, one, other) or self._same_by(self._source, one, other))
        if not late:
            return None
        later = (other.expires - one.expires) / MICROSECONDS_PER_SECOND
        return f"expires {abs(later):.3f} s {'later' if later > 0 else 'earlier'} in the destination"

    def _same_by(self, store: BaseSessionStore, one: Record, other: Record) -> bool:
        return store.same_expiry(one.expires, other.expires)

    def _data_difference(self, one: Record, other: Record) -> tuple[str, str] | None:
        is_alike = self._verbatim and one.raw == other.raw
        if is_alike and not self._source.keeps_text:
            return None
        try:
            ours = self._source.load(one)
        except (UnreadableSession, RecordProblem) as error:
            where = "on both sides" if is_alike else "in the source"
            return "unreadable_alike" if is_alike else "unreadable", f"unreadable {where}: {error}"
        if is_alike:
            return None
        try:
            same = self._dest.load(other) == ours
        except (UnreadableSession, RecordProblem) as error:
            return "data_differs", f"unreadable in the destination: {error}"
        return None if same else ("data_differs", "different data in the destination")


def _part(options: VerifyOptions, in_source: int | None) -> float:
    """Return which part of all sessions a sample of the wanted size is, from 0 to 1."""
    return 1.0 if options.sample is None or not in_source else min(options.sample / in_source, 1.0)


def _is_in_sample(key: str, part: float) -> bool:
    return part >= 1.0 or int(digest(key), 16) < part * 16**16
