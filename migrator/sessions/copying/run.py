"""The conductor of a copy of sessions: open, check, show, confirm, pass after pass."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from ... import conf
from ...console.progress import Progress
from ...console.prompts import Prompter
from ...errors import Refused
from ...server_errors import reporting_outages
from ...stores.copying.passes import Check, copy_once, jobs_for
from ...stores.copying.preflight import check_room
from ...stores.copying.records import CopyCounts, CopyResult
from ...stores.copying.run import carry_out
from ...transitions.phases import phase_reader
from ..endpoints import SessionEndpoint, key_regex_of, settled
from ..engines import TRANSITION
from ..hidden_sessions import hidden_in, is_site_place, nothing_found, site_place
from ..records import CopyOptions, End, SessionPlan
from ..stores.base import BaseSessionStore
from .follow_up import followed
from .manifest import Manifest, noted_in
from .passes import SessionCopy, identity_of, sweep
from .preflight import check_counts, check_not_emptied, check_options, check_sample

Show = Callable[[SessionPlan], object]


@reporting_outages()
def copy_sessions(
    *,
    source: End,
    dest: End,
    options: CopyOptions | None = None,
    progress: Progress | None = None,
    prompter: Prompter | None = None,
    show: Show | None = None,
) -> CopyResult[SessionPlan]:
    """Copy the sessions of ``source`` to ``dest`` with exact expiry, never over anything newer.

    It can be called again at any time: existing sessions are not overwritten.

    Raises :exc:`migrator.errors.UsageError`, :exc:`Refused` before the first write, :exc:`migrator.errors.Declined`,
    :exc:`migrator.errors.DataRejected` and :exc:`migrator.errors.Interrupted`.
    """
    options, progress, prompter = options or CopyOptions(), progress or Progress(), prompter or Prompter()
    source, dest = settled(source, dest)
    options = replace(options, key_regex=options.key_regex or key_regex_of(source, dest))
    one, other = (SessionEndpoint(end, options.key_regex, options.trust_pickle) for end in (source, dest))
    with ExitStack() as stack:
        context = SessionCopy(one, other, options)
        opened, target = stack.enter_context(context.opened())
        options = followed(options, opened, target)
        check_options(options, target)
        context = replace(context, options=options)
        _check_manifest(options, opened, target)
        plan = _planned(opened, target, options)
        if not (is_site_place(source) or is_site_place(dest)):
            kept = f"SESSION_ENGINE keeps the site's sessions {site_place()}, which is neither end of this copy"
            plan = replace(plan, notes=(*plan.notes, kept))

        def copy(check: Check) -> list[CopyCounts]:
            noting = replace(context, manifest=_manifest_path(stack, options))
            manifest = _manifest(stack, noting, opened, target)
            return SessionPasses(noting, opened, target, plan, manifest, progress, check).all()

        question = f"Copy sessions from {plan.source} to {plan.dest}?"
        return carry_out(plan, target, show=show, prompter=prompter, question=question, copy=copy)


def _check_manifest(options: CopyOptions, source: BaseSessionStore, dest: BaseSessionStore) -> None:
    """Raise :exc:`UsageError` or :exc:`Refused` for a manifest by which the pass that is due cannot be made."""
    if options.manifest is None:
        return
    path, noted = str(options.manifest), noted_in(options.manifest, identity_of(source, dest))
    if options.after_switch and not noted.is_finished:
        raise Refused(
            f"The manifest {path!r} notes no completed pass from before the switch, so this one cannot see what the "
            "destination ended. Go back to the settings from before the switch, run the copy there, switch, and run "
            "it again. Nothing was written."
            if options.follow_up
            else f"The manifest {path!r} notes no completed pass. Run the copy without --after-switch first, then "
            "switch, then run it with --after-switch. Nothing was written."
        )
    if options.follow_up and noted.has_switched and not options.after_switch:
        raise Refused(
            f"The manifest {path!r} notes a pass after the switch, but these settings keep the site's sessions in the "
            "source. Run the command with the settings of the site. If it has switched back, empty the destination, "
            "and name a new file. Nothing was written."
        )


def _planned(source: BaseSessionStore, dest: BaseSessionStore, options: CopyOptions) -> SessionPlan:
    in_source, in_dest = source.count(), dest.count()
    hidden = hidden_in(source)
    missing = "" if in_source else nothing_found(source)
    if options.after_switch:
        if not (hidden or options.end_missed):
            check_not_emptied(source, dest, in_source, in_dest)
    # If none of some given keys exists, that shows nothing about the stores.
    elif not (hidden or (source.has_given_keys and not _is_followed(options))):
        check_counts(source, dest, in_source, in_dest, missing)
    coming = ([key for key in page if key.startswith(options.match)] for page in source.keys(options.chunk_size))
    check_room(dest, coming, "session", "The destination", options.limit)
    check_sample(source, options)
    notes = (*source.notes(), *dest.notes(), *_notes(source, dest, options))
    given = source.has_given_keys
    return SessionPlan(
        source.label(), dest.label(), in_source, in_dest, notes, options, given, missing, hidden, source.keeps_forever
    )


def _is_followed(options: CopyOptions) -> bool:
    """Whether passes end in the destination what the source has ended."""
    return bool(options.manifest or options.catch_up)


def _notes(source: BaseSessionStore, dest: BaseSessionStore, options: CopyOptions) -> list[str]:
    notes = []
    lost = source.roles - dest.roles
    if lost:
        notes.append(
            f"the destination does not store {', '.join(sorted(lost))}: "
            "pages that list or end a user's sessions need the table"
        )
    if settings.SESSION_ENGINE.startswith(TRANSITION):
        notes += _notes_of_transition()
    elif not _is_followed(options):
        notes.append(
            "logins and logouts during the copy are followed only while the sessions they touch are copied; "
            "with --follow-up, later passes correct the others"
        )
    if options.jobs > jobs_for(source, options):
        notes.append("only one process copies: this source, the platform or --limit does not allow several")
    return notes


def _notes_of_transition() -> Iterator[str]:
    """Yield what a copy misses in a phase in which workers write to one store only."""
    sessions = conf.load().SESSIONS
    with suppress(ImproperlyConfigured):  # the system checks report it
        phase = phase_reader(sessions.PHASE, name="MIGRATOR['SESSIONS']['PHASE']")() if sessions else None
        if phase and not phase.is_dual:
            yield (
                f"the phase is {phase}, in which workers save to one store only: what they save after a session was "
                "copied does not reach the other. Copy in dual_old, or in dual_new on the way back"
            )


def _manifest_path(stack: ExitStack, options: CopyOptions) -> Path | None:
    """Return where passes note what they write; if only --catch-up needs it, it is deleted at the end."""
    if options.manifest is None and options.catch_up:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="migrator-"))) / "manifest"
    return options.manifest


def _manifest(
    stack: ExitStack, context: SessionCopy, source: BaseSessionStore, dest: BaseSessionStore
) -> Manifest | None:
    if context.manifest is None:
        return None
    return stack.enter_context(Manifest(context.manifest, identity_of(source, dest)))


class SessionPasses:
    """The passes of one copy."""

    def __init__(
        self,
        context: SessionCopy,
        source: BaseSessionStore,
        dest: BaseSessionStore,
        plan: SessionPlan,
        manifest: Manifest | None,
        progress: Progress,
        check: Check,
    ) -> None:
        self._context, self._source, self._dest, self._plan = context, source, dest, plan
        self._manifest, self._progress, self._check = manifest, progress, check

    def all(self) -> list[CopyCounts]:
        """Run the first pass, then more until one changes nothing, as many as the options allow."""
        options = self._context.options
        if self._manifest and options.after_switch:
            self._manifest.set_switched()
        elif self._manifest:
            self._manifest.set_finished(False)
        passes = [self.one("sessions", is_first=True)]
        for number in range(options.catch_up):
            passes.append(self.one(f"catch-up pass {number + 1}", is_first=False))
            if not passes[-1].changes:
                break
        if self._manifest:
            self._manifest.set_finished(True)
        return passes

    def one(self, label: str, *, is_first: bool) -> CopyCounts:
        """Run one pass; return its counts."""
        context = replace(self._context, dest_is_empty=is_first and self._plan.in_dest == 0)
        with self._progress.task(label, self._plan.expected, unit="sessions") as task:
            counts = copy_once(context, self._source, self._dest, task.advance, self._check)
        if self._manifest:
            counts.add(sweep(self._source, self._dest, context.options, self._manifest, self._check))
        return counts
