"""The conductor of a session copy: open, guard, show, confirm, pass after pass, report."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...console.interrupts import stopping_between_pages
from ...console.progress import Progress
from ...console.prompts import Prompter
from ...errors import Declined, Refused
from ...processes.workers import Work, can_fork, run_side_by_side
from ...server_errors import telling_of_outages
from ...stores.base import WHOLE, Share
from ..hidden_sessions import hidden_in, is_site_place, nothing_found, site_place
from ..places import key_regex_of, open_end, settled
from ..records import CopyOptions, End, Hidden, SessionCounts
from ..stores.base import Store
from .manifest import Manifest
from .passes import Check, Tick, copy_share, copy_share_afresh, identity_of, sweep
from .preflight import check_counts, check_not_emptied, check_options, check_places, check_room, check_sample

Show = Callable[["SessionPlan"], object]


@dataclass(frozen=True)
class SessionPlan:
    """What a copy would do, shown before it does anything."""

    source: str
    dest: str
    in_source: int | None
    in_dest: int | None
    notes: tuple[str, ...]
    options: CopyOptions
    has_given_keys: bool = False
    hidden: tuple[Hidden, ...] = ()
    # What is to be said if the source turns out to have no session at all.
    nothing_found: str = ""


@dataclass(frozen=True)
class CopyResult:
    """What a copy did. ``passes`` has one tally for each pass over the source."""

    plan: SessionPlan
    passes: tuple[SessionCounts, ...] = ()
    seconds: float = 0.0
    evicted: int = 0
    is_dry_run: bool = False
    total: SessionCounts = field(default_factory=SessionCounts)


@telling_of_outages()
def copy_sessions(
    *,
    source: End,
    dest: End,
    options: CopyOptions | None = None,
    progress: Progress | None = None,
    prompter: Prompter | None = None,
    show: Show | None = None,
) -> CopyResult:
    """Copy the sessions of ``source`` to ``dest`` with exact expiry, never over anything newer.

    It may be called again at any time: sessions that are there already are left alone.

    Raises :exc:`migrator.errors.UsageError`, :exc:`Refused` before the first write, :exc:`Declined`,
    :exc:`migrator.errors.DataRejected` and :exc:`migrator.errors.Interrupted`.
    """
    # 1. open both ends  2. ask what could go wrong  3. show the plan  4. ask the person  5. pass after pass
    options, progress, prompter = options or CopyOptions(), progress or Progress(), prompter or Prompter()
    source, dest = settled(source, dest)
    options = replace(options, key_regex=options.key_regex or key_regex_of(source, dest))
    with ExitStack() as stack:
        opened, target = (stack.enter_context(closing(open_end(end, options))) for end in (source, dest))
        plan = _planned(opened, target, options)
        if not (is_site_place(source) or is_site_place(dest)):
            kept = f"SESSION_ENGINE keeps the site's sessions {site_place()}, which is neither end of this copy"
            plan = replace(plan, notes=(*plan.notes, kept))
        if show:
            show(plan)
        if options.dry_run:
            return CopyResult(plan, is_dry_run=True)
        if not prompter.proceed(f"Copy sessions from {plan.source} to {plan.dest}?"):
            raise Declined("Nothing was written.")
        started, evicted = time.monotonic(), target.evictions()
        check = stack.enter_context(stopping_between_pages())
        manifest = _manifest(stack, opened, target, options)
        passes = _Run(source, dest, opened, target, plan, manifest, progress, check).all_passes()
        seconds = time.monotonic() - started
        return CopyResult(plan, tuple(passes), seconds, max(target.evictions() - evicted, 0), total=_total(passes))


# What each pass finds anew of the same sessions; the rest is what a pass did, and adds up.
_FOUND_AGAIN = (
    *("read", "present", "unchanged", "ended", "missed", "expired"),
    *("no_ttl", "skipped", "unreadable", "foreign", "unsafe", "unfit"),
)


def _total(passes: Sequence[SessionCounts]) -> SessionCounts:
    total = SessionCounts()
    for tally in passes:
        total.add(tally)
    for name in _FOUND_AGAIN:
        setattr(total, name, max((getattr(tally, name) for tally in passes), default=0))
    total.problems = list(dict.fromkeys(total.problems))
    return total


def _planned(source: Store, dest: Store, options: CopyOptions) -> SessionPlan:
    check_options(options, dest)
    check_places(source, dest)
    in_source, in_dest = source.count(), dest.count()
    hidden = hidden_in(source)
    missing = "" if in_source else nothing_found(source)
    if not (hidden or options.after_switch):
        check_counts(source, dest, in_source, in_dest, missing)
    elif not (hidden or options.end_missed):
        check_not_emptied(source, dest, in_source, in_dest)
    check_room(source, dest, options)
    check_sample(source, options)
    notes = [*source.notes(), *dest.notes(), *_notes(source, dest, options)]
    given = source.has_given_keys
    return SessionPlan(source.label(), dest.label(), in_source, in_dest, tuple(notes), options, given, hidden, missing)


def _notes(source: Store, dest: Store, options: CopyOptions) -> list[str]:
    notes = []
    lost = source.roles - dest.roles
    if lost:
        notes.append(
            f"the destination keeps no {', '.join(sorted(lost))}: "
            "pages that list or end a user's sessions need the table"
        )
    if not (options.manifest or options.catch_up):
        notes.append(
            "logins and logouts during the copy are followed only while the sessions they touch are copied; "
            "with --catch-up and --manifest a pass after the switch makes them right"
        )
    if options.jobs > 1 and not (can_fork() and source.can_share and options.limit is None):
        notes.append("one process copies: this source, platform or --limit does not let several share the work")
    return notes


def _manifest(stack: ExitStack, source: Store, dest: Store, options: CopyOptions) -> Manifest | None:
    """Open the manifest; where only --catch-up needs one, it is gone afterwards."""
    path = options.manifest
    if path is None and options.catch_up:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="migrator-"))) / "manifest"
    if path is None:
        return None
    manifest = stack.enter_context(Manifest(path, identity_of(source, dest)))
    if options.after_switch and not manifest.is_finished:
        raise Refused(
            f"No pass noted in {str(path)!r} has come to its end. Run the copy without --after-switch first, "
            "then switch, then run it with --after-switch."
        )
    return manifest


class _Run:
    """The passes of one copy."""

    def __init__(
        self,
        source: End,
        dest: End,
        opened: Store,
        target: Store,
        plan: SessionPlan,
        manifest: Manifest | None,
        progress: Progress,
        check: Check,
    ) -> None:
        self._ends = source, dest
        self._source, self._dest = opened, target
        self._plan, self._options = plan, plan.options
        self._manifest, self._progress, self._check = manifest, progress, check
        self._jobs = plan.options.jobs if can_fork() and opened.can_share and plan.options.limit is None else 1

    def all_passes(self) -> list[SessionCounts]:
        """Run the first pass, then more until one changes nothing, as many as were asked for."""
        if self._manifest and not self._options.after_switch:
            self._manifest.set_finished(False)
        passes = [self._one_pass("sessions", is_first=True)]
        for number in range(self._options.catch_up):
            passes.append(self._one_pass(f"catch-up pass {number + 1}", is_first=False))
            if not passes[-1].changes:
                break
        if self._manifest:
            self._manifest.set_finished(True)
        return passes

    def _one_pass(self, label: str, *, is_first: bool) -> SessionCounts:
        dest_is_empty = is_first and self._plan.in_dest == 0
        with self._progress.task(label, self._plan.in_source, unit="sessions") as task:
            tally = SessionCounts()
            for part in self._shares(dest_is_empty, task.advance):
                tally.add(part)
        if self._manifest:
            tally.add(
                sweep(
                    source=self._source,
                    dest=self._dest,
                    options=self._options,
                    manifest=self._manifest,
                    check=self._check,
                )
            )
        return tally

    def _shares(self, dest_is_empty: bool, tick: Tick) -> list[SessionCounts]:
        if self._jobs == 1:
            whole = copy_share(
                ends=self._ends,
                source=self._source,
                dest=self._dest,
                options=self._options,
                manifest=self._manifest,
                dest_is_empty=dest_is_empty,
                share=WHOLE,
                tick=tick,
                check=self._check,
            )
            return [whole]
        source, dest = self._ends
        path = self._manifest.path if self._manifest else None

        def of_share(index: int) -> Work[SessionCounts]:
            return lambda tick: copy_share_afresh(
                source=source,
                dest=dest,
                options=self._options,
                manifest=path,
                dest_is_empty=dest_is_empty,
                share=Share(index, self._jobs),
                tick=tick,
            )

        return run_side_by_side([of_share(index) for index in range(self._jobs)], tick, self._check)
