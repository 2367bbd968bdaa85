"""Two places of sessions compared: which are missing, too many, different, or end at another time."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ..clock import MICROSECONDS_PER_SECOND, now
from ..console.interrupts import stopping_between_pages
from ..console.progress import Progress
from ..errors import Refused
from ..processes.prefetch import read_ahead
from ..processes.workers import Work, can_fork, run_side_by_side
from ..server_errors import telling_of_outages
from ..stores.base import WHOLE, Share, digest
from .cached_entries import stale_before_rows
from .codec import UnreadableSession
from .comparison import SessionComparison, VerifyOptions, VerifyResult
from .copying.passes import Check, Tick, garbage_left_for_later
from .copying.preflight import check_complete, check_keys, check_sight
from .hidden_sessions import hidden_in, nothing_found
from .places import key_regex_of, open_end, settled
from .records import End, SessionProblem, SessionRecord

if TYPE_CHECKING:
    from .stores.base import Store

# A session that differs may have been saved between the two readings.
SETTLE_SECONDS = 0.5
# How many sessions a page of the source has, those of them to compare, and what the destination holds of these.
Pair = tuple[int, list[SessionRecord], dict[str, SessionRecord]]


@telling_of_outages()
def verify_sessions(
    *, source: End, dest: End, options: VerifyOptions | None = None, progress: Progress | None = None
) -> VerifyResult:
    """Compare two places; what differs is looked at again before it is told.

    Raises what opening the ends raises, and :exc:`Refused` for one place given twice.
    """
    options, progress = options or VerifyOptions(), progress or Progress()
    source, dest = settled(source, dest)
    options = replace(options, key_regex=options.key_regex or key_regex_of(source, dest))
    with ExitStack() as stack:
        opened, target = (stack.enter_context(closing(open_end(end, options.opening()))) for end in (source, dest))
        if opened.identities() & target.identities():
            raise Refused(f"Source and destination are the same place: {target.label()}.")
        check_keys(opened, target)
        check_sight(opened, target)
        check_complete(opened)
        comparison = SessionComparison(opened.count(), target.count())
        started = time.monotonic()
        total = (comparison.in_source or 0) + (comparison.in_dest or 0 if target.can_list_keys else 0)
        check = stack.enter_context(stopping_between_pages())
        task = stack.enter_context(progress.task("compared", total, unit="sessions of both sides"))
        for part in _parts(source, dest, opened, target, options, comparison.in_source, task.advance, check):
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


def _parts(
    source: End,
    dest: End,
    opened: Store,
    target: Store,
    options: VerifyOptions,
    in_source: int | None,
    tick: Tick,
    check: Check,
) -> list[SessionComparison]:
    """Compare in this process, or each share in one of its own."""
    if options.jobs == 1 or not (can_fork() and opened.can_share and target.can_share):
        return [_compare((source, dest), opened, target, options, in_source, WHOLE, tick, check)]
    opening = options.opening()

    def of_share(index: int) -> Work[SessionComparison]:
        def work(tick: Tick) -> SessionComparison:
            with closing(open_end(source, opening)) as one, closing(open_end(dest, opening)) as other:
                share = Share(index, options.jobs)
                return _compare((source, dest), one, other, options, in_source, share, tick, lambda: None)

        return work

    return run_side_by_side([of_share(index) for index in range(options.jobs)], tick, check)


def _compare(
    ends: tuple[End, End],
    source: Store,
    dest: Store,
    options: VerifyOptions,
    in_source: int | None,
    share: Share,
    tick: Tick,
    check: Check,
) -> SessionComparison:
    """Compare one share from both sides."""
    comparison = SessionComparison()
    part = _part(options, in_source)
    comparer = _Comparer(source, dest, options, comparison, part)
    with garbage_left_for_later():
        with closing(_pairs_of(ends, source, dest, options, share, part)) as pairs:
            comparer.look_through_source(pairs, tick, check)
        if dest.can_list_keys or dest.has_given_keys:
            comparer.look_through_dest(share, tick, check)
    return comparison


def _pairs_of(
    ends: tuple[End, End], source: Store, dest: Store, options: VerifyOptions, share: Share, part: float
) -> Generator[Pair]:
    """Read the pages of a share from both sides, ahead where both can be opened once more for that."""
    if not (source.can_open_again and dest.can_open_again):
        return _pairs(source, dest, options, share, part)

    def pairs() -> Generator[Pair]:
        with ExitStack() as stack:
            opened, target = (stack.enter_context(closing(open_end(end, options.opening()))) for end in ends)
            yield from _pairs(opened, target, options, share, part)

    return read_ahead(pairs)


def _pairs(source: Store, dest: Store, options: VerifyOptions, share: Share, part: float) -> Generator[Pair]:
    for page in source.pages(options.chunk_size, share):
        chosen = [session for session in page if _is_in_sample(session.key, part)]
        yield len(page), chosen, dest.fetch([session.key for session in chosen])


class _Comparer:
    def __init__(
        self, source: Store, dest: Store, options: VerifyOptions, comparison: SessionComparison, part: float
    ) -> None:
        self._source, self._dest, self._options, self._found = source, dest, options, comparison
        self._is_full = options.mode == "full"
        self._verbatim = dest.takes_verbatim(source)
        self._chosen: Callable[[str], bool] = partial(_is_in_sample, part=part)

    def look_through_source(self, pairs: Iterable[Pair], tick: Tick, check: Check) -> None:
        """Find what is missing or differs in the destination."""
        for count, sessions, there in pairs:
            suspects = self._compare(sessions, there)
            if suspects:
                self._settle(suspects)
            tick(count)
            check()

    def look_through_dest(self, share: Share, tick: Tick, check: Check) -> None:
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

    def _compare(self, sessions: list[SessionRecord], there: Mapping[str, SessionRecord]) -> list[str]:
        suspects = []
        for session in sessions:
            if self._difference(session, there.get(session.key)) is None:
                self._found.compared += 1
                self._found.equal += 1
            else:
                suspects.append(session.key)
        return suspects

    def _settle(self, keys: list[str]) -> None:
        """Read what differed once more, after whoever was saving it has finished."""
        time.sleep(SETTLE_SECONDS)
        source, dest = self._source.read(keys), self._dest.fetch(keys)
        for key in keys:
            if key not in source:
                continue  # ended or expired meanwhile; the look through the destination finds what was left there
            self._found.compared += 1
            difference = self._difference(source[key], dest.get(key))
            if difference is None:
                self._found.equal += 1
            else:
                self._found.note(difference[0], key, difference[1])

    def _difference(self, one: SessionRecord, other: SessionRecord | None) -> tuple[str, str] | None:
        if other is None:
            return self._missing(one)
        if expiry := self._expiry_difference(one, other):
            return "expiry_differs", expiry
        return self._data_difference(one, other) if self._is_full else None

    def _missing(self, session: SessionRecord) -> tuple[str, str] | None:
        expires = self._dest.rounded(session.expires)
        if expires is not None and expires <= now():
            return None
        if self._is_full:
            try:
                self._source.load(session)
            except (UnreadableSession, SessionProblem) as error:
                return "unreadable", f"unreadable in the source, and missing in the destination: {error}"
        return "missing", "missing in the destination"

    def _expiry_difference(self, one: SessionRecord, other: SessionRecord) -> str | None:
        if one.expires is None or other.expires is None:
            if one.expires is None and other.expires is not None:
                self._found.without_ttl += 1  # what such a session becomes was chosen at the copy
                return None
            return None if self._same_by(self._dest, one, other) else "has no time to live in the destination"
        if self._options.ttl_tolerance is not None:
            late = abs(other.expires - one.expires) > self._options.ttl_tolerance * MICROSECONDS_PER_SECOND
        else:
            late = not (self._same_by(self._dest, one, other) or self._same_by(self._source, one, other))
        if not late:
            return None
        later = (other.expires - one.expires) / MICROSECONDS_PER_SECOND
        return f"ends {abs(later):.3f} s {'later' if later > 0 else 'earlier'} in the destination"

    def _same_by(self, store: Store, one: SessionRecord, other: SessionRecord) -> bool:
        return store.same_expiry(one.expires, other.expires)

    def _data_difference(self, one: SessionRecord, other: SessionRecord) -> tuple[str, str] | None:
        is_alike = self._verbatim and one.payload == other.payload
        if is_alike and not self._source.keeps_text:
            return None
        try:
            ours = self._source.load(one)
        except (UnreadableSession, SessionProblem) as error:
            where = "on both sides" if is_alike else "in the source"
            return "unreadable_alike" if is_alike else "unreadable", f"unreadable {where}: {error}"
        if is_alike:
            return None
        try:
            same = self._dest.load(other) == ours
        except (UnreadableSession, SessionProblem) as error:
            return "data_differs", f"unreadable in the destination: {error}"
        return None if same else ("data_differs", "other data in the destination")


def _part(options: VerifyOptions, in_source: int | None) -> float:
    """Return the part of all sessions that a sample of the wanted size is."""
    return 1.0 if options.sample is None or not in_source else min(options.sample / in_source, 1.0)


def _is_in_sample(key: str, part: float) -> bool:
    return part >= 1.0 or int(digest(key), 16) < part * 16**16
