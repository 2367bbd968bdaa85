"""The reports of a session copy and of a comparison, from their records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from ..console.reports import Cell, Fact, Figure, Grid, Mood, Point, Report, Verdict
from ..console.wording import listed, plural, seconds_text
from ..stores.copying import reports
from ..stores.copying.records import MAX_PROBLEMS_LISTED, CopyCounts, CopyResult
from .comparison import SessionComparison, VerifyResult, counts
from .records import CopyOptions, Hidden, SessionPlan

WORDS = {
    "read": "read from the source",
    "written": "written",
    "present": "already there, kept",
    "unchanged": "already there, unchanged since the previous pass",
    "refreshed": "changed in the source, written again",
    "removed": "ended in the source, removed again",
    "ended": "ended in the destination since the switch, not copied again",
    "missed": "ended in the source, changed here since",
    "expired": "expired, not copied",
    "no_ttl": "without time to live",
    "skipped": "skipped because they have no time to live",
    "changed_by_json": "changed by JSON",
    "unreadable": "unreadable",
    "foreign": "not sessions",
    "unsafe": "pickles that need more than the allow-list",
    "unfit": "rejected by the destination",
}

# What becomes of sessions without expiry, by the value of --no-ttl.
_WITHOUT_EXPIRY = {
    "expiry-from-data": "sessions without one get it from set_expiry() or the cookie age",
    "skip": "sessions without one are not copied",
    "keep": "sessions without one are copied without one",
    "error": "a session without one stops the copy",
}


def plan_report(plan: SessionPlan) -> Report:
    """Return the report of what a copy would do, before it does anything."""
    facts = [Fact("no expiry", f"{_WITHOUT_EXPIRY[plan.options.no_ttl]} (--no-ttl)")] if plan.may_lack_expiry else []
    if plan.options.follow_up:
        facts.append(Fact("pass", _due_pass(plan.options)))
    in_dest = "given keys" if plan.in_dest is None else plan.in_dest
    return reports.plan_report("Copy sessions", "session", plan, in_dest=in_dest, facts=facts)


def copy_report(
    result: CopyResult[SessionPlan], again: str = "the same command without --dry-run", compare: str | None = None
) -> Report:
    """Return the report of what a copy did or would do.

    ``again`` repeats a dry run in earnest, and ``compare`` is the command that compares both stores.

    Exit code 4 if not every session was copied that should be.
    """
    plan, total = result.plan, result.total
    if result.is_dry_run:
        return _dry_run_report(result, again)
    is_short = total.failures or total.missed or result.evicted or plan.hidden
    code = 4 if is_short else 3 if not (total.read or total.removed) else 0
    grid, shown = reports.count_grid("session", total, WORDS, also=["unreadable"]), reports.SHOWN_DIGESTS
    return Report(
        title="Copy of sessions",
        verdict=_copy_verdict(result, code),
        facts=(*reports.ends_facts(plan), *_pass_facts(result)),
        grids=(grid, *reports.problem_grids(total, shown), *_hidden_grids(plan.hidden, shown)),
        points=tuple(_points(result)),
        details=(grid, *reports.problem_grids(total), *_hidden_grids(plan.hidden)),
        figures=reports.figures("session", result, sum(found.count for found in plan.hidden)),
        next=tuple(_next_steps(plan.options, compare)),
        document=_document(result),
        exit_code=code,
    )


def _next_steps(options: CopyOptions, compare: str | None) -> Iterator[str]:
    if compare:
        yield compare
    if options.follow_up and not options.after_switch:
        yield "the same command again at any time, and once more after the switch"


def _due_pass(options: CopyOptions) -> str:
    """Return which pass is due, and what shows it."""
    if options.after_switch:
        return "the last, after the switch: the settings keep the site's sessions in the destination"
    return (
        f"before the switch: the settings keep the site's sessions in the source; repeated up to {options.catch_up} "
        "times, until one changes nothing"
    )


def _dry_run_report(result: CopyResult[SessionPlan], again: str) -> Report:
    plan, report = result.plan, reports.dry_run_report("session", result, _document(result), again)
    if not plan.hidden:
        return report
    count = plural(sum(found.count for found in plan.hidden), "session")
    return replace(
        report,
        verdict=Verdict(Mood.WARNING, "DRY RUN", f"Nothing was written. {count} would be left out."),
        grids=tuple(_hidden_grids(plan.hidden, reports.SHOWN_DIGESTS)),
        points=tuple(_hidden_points(plan.hidden)),
        details=tuple(_hidden_grids(plan.hidden)),
        exit_code=4,
    )


def _hidden_points(hidden: Sequence[Hidden]) -> Iterator[Point]:
    yield from (Point(Mood.WARNING, f"{found.reason}.", stays=True) for found in hidden)


def _hidden_grids(hidden: Sequence[Hidden], shown: int | None = None) -> list[Grid]:
    rows = [(key, "left out") for found in hidden for key in found.digests][:MAX_PROBLEMS_LISTED]
    return reports.digest_grids("Left out, by the digest of the key", ("digest", "what"), rows, shown)


def _pass_facts(result: CopyResult[SessionPlan]) -> Iterator[Fact]:
    if len(result.passes) > 1:
        changes = ", ".join(f"{counts.changes:,}" for counts in result.passes)
        yield Fact("passes", f"changes made by each: {changes}")


def _points(result: CopyResult[SessionPlan]) -> Iterator[Point]:
    yield from reports.limit_points("session", result)
    yield from _unfinished_points(result)
    yield from reports.eviction_points(result)
    yield from _hidden_points(result.plan.hidden)


def _copy_verdict(result: CopyResult[SessionPlan], code: int) -> Verdict:
    if code == 3:
        limits = " Their keys would have to begin with the --match prefix." if result.plan.options.match else ""
        return Verdict(Mood.WARNING, "NOTHING", result.plan.nothing_found or f"No session was read.{limits}")
    done = reports.copied_sentence("session", result)
    copied = f"session that {_conditions(result.total)} is in the destination"
    if code == 0:
        return Verdict(Mood.GOOD, "DONE", f"{done}. Every {copied}.")
    sentences = []
    if failed := result.total.failures + sum(found.count for found in result.plan.hidden):
        others = "" if result.evicted or not result.total.read else f"; every other {copied}"
        sentences.append(f"{plural(failed, 'session')} could not be copied{others}.")
    if count := result.total.missed:
        sentences.append(
            f"{plural(count, 'session')} ended in the source and changed here since: anyone with the cookie is still "
            "logged in. Run the same command with --end-missed to end them, or leave them."
        )
    if not sentences:
        sentences.append(f"{done}, but the destination evicted some keys.")
    return Verdict(Mood.BAD, "INCOMPLETE", " ".join(sentences))


def _unfinished_points(result: CopyResult[SessionPlan]) -> Iterator[Point]:
    if result.plan.options.catch_up and result.passes and result.passes[-1].changes:
        changes = plural(result.passes[-1].changes, "change")
        yield Point(
            Mood.WARNING,
            f"The last pass still made {changes}, so more may have changed since. Run the command again"
            f"{'' if result.plan.options.follow_up else ', or raise --catch-up'}.",
        )


def _conditions(total: CopyCounts) -> str:
    """Return which sessions are in the destination."""
    found = ["was read", "had not expired"]
    found += ["had time to live"] if total.skipped else []
    found += ["was not ended meanwhile"] if total.removed else []
    found += ["was not ended there since the switch"] if total.ended else []
    return listed(found)


def _document(result: CopyResult[SessionPlan]) -> dict[str, Any]:
    return {
        **reports.document("migrator/copy-sessions@1", result),
        "in_dest": result.plan.in_dest,
        "total": result.total.by_name(WORDS),
        "losses": dict(result.total.losses),
        "hidden": _hidden_document(result.plan.hidden),
        "passes": [counts.by_name(WORDS) for counts in result.passes],
    }


def _hidden_document(hidden: Sequence[Hidden]) -> list[dict[str, Any]]:
    return [{"sessions": found.count, "why": found.reason, "digests": list(found.digests)} for found in hidden]


def comparison_report(result: VerifyResult) -> Report:
    """Return the report of a comparison: exit code 3 for differences, 4 if something could not be compared."""
    found = result.comparison
    unread = found.unreadable + found.unreadable_alike
    nothing = not (found.compared or found.found or unread or result.hidden)
    code = 3 if found.found or nothing or result.stale else 4 if unread or result.hidden else 0
    shown = reports.SHOWN_DIGESTS
    grid, headers = _comparison_grid(result), ("digest", "what")
    short, full = (reports.digest_grids(reports.BY_DIGEST, headers, found.differences, most) for most in (shown, None))
    return Report(
        title=f"Comparison of {plural(found.compared, 'session')} in {found.seconds:.1f} s",
        verdict=_verdict(result, code),
        facts=(Fact("from", result.source), Fact("to", result.dest)),
        grids=(grid, *short, *_hidden_grids(result.hidden, shown)),
        points=tuple(_comparison_points(result)),
        details=(grid, *full, *_hidden_grids(result.hidden)),
        figures=_comparison_figures(found),
        document=_comparison_document(result),
        exit_code=code,
    )


def _comparison_figures(found: SessionComparison) -> tuple[Figure, ...]:
    return (
        Figure("sessions compared", f"{found.compared:,}"),
        Figure("sessions equal", f"{found.equal:,}"),
        Figure("sessions differing", f"{found.found:,}", mood=Mood.BAD if found.found else Mood.GOOD),
    )


def _comparison_grid(result: VerifyResult) -> Grid:
    found = result.comparison
    rows: list[tuple[Cell, ...]] = [
        ("in the source", found.in_source),
        ("in the destination", found.in_dest),
        ("compared", found.compared),
        ("equal", found.equal),
        ("missing in the destination", found.missing),
        ("only in the destination", found.extra),
        ("different data", found.data_differs if result.options.mode == "full" else None),
        ("different expiry", found.expiry_differs),
    ]
    rows += [("without time to live in the source", found.without_ttl)] if found.without_ttl else []
    rows += [("unreadable in the source", found.unreadable)] if found.unreadable else []
    rows += [("equal, but unreadable with these settings", found.unreadable_alike)] if found.unreadable_alike else []
    rows += [("different in the cache in front of the table", result.stale)] if result.stale else []
    return Grid("", ("sessions", "count"), tuple(rows))


def _comparison_points(result: VerifyResult) -> Iterator[Point]:
    found, options = result.comparison, result.options
    if options.sample is not None:
        sampled = "Only a sample was compared: a difference in the other sessions is not found."
        yield Point(Mood.NOTE, sampled)
    if options.mode == "quick":
        quick = "Existence and expiry were compared, but not the data. --mode full compares the data, too."
        yield Point(Mood.NOTE, quick)
    yield from _hidden_points(result.hidden)
    if result.has_given_keys:
        yield Point(Mood.NOTE, "Sessions with keys that were not given were not compared.")
    if result.is_one_sided:
        one_sided = "Sessions that only the destination has were not found: its keys cannot be listed."
        yield Point(Mood.NOTE, one_sided)
    if result.stale:
        yield Point(
            Mood.BAD,
            f"The cache in front of the destination's table differs from its rows in "
            f"{plural(result.stale, 'session')}, and the engine reads the cache first. Copy once more, or delete the "
            "sessions from that cache.",
            stays=True,
        )
    if found.unreadable_alike:
        yield Point(
            Mood.WARNING,
            f"{plural(found.unreadable_alike, 'session')} cannot be read with the keys and the serializer of these "
            "settings (SECRET_KEY, SECRET_KEY_FALLBACKS, SESSION_SERIALIZER): they log no one in.",
        )


def _verdict(result: VerifyResult, code: int) -> Verdict:
    found = result.comparison
    if code == 3 and found.found:
        differ = f"{plural(found.found, 'session')} differ{'s' if found.found == 1 else ''}"
        return Verdict(Mood.BAD, "DIFFERENT", f"{differ}.")
    if code == 3 and result.stale:
        return Verdict(Mood.BAD, "DIFFERENT", "The rows are equal, but what the site reads is not.")
    if code == 3:
        return Verdict(Mood.WARNING, "NOTHING", f"Nothing was compared. {result.nothing_found}")
    if code == 4:
        count = found.unreadable + found.unreadable_alike + sum(part.count for part in result.hidden)
        sentence = f"{plural(count, 'session')} could not be compared; nothing else differs."
        return Verdict(Mood.WARNING, "NOT COMPARED", sentence)
    compared = f"{plural(found.compared, 'session')} in {seconds_text(found.seconds)}"
    return Verdict(Mood.GOOD, "EQUAL", f"No difference was found; compared {compared}.")


def _comparison_document(result: VerifyResult) -> dict[str, Any]:
    return {
        "schema": "migrator/verify-sessions@1",
        "source": result.source,
        "dest": result.dest,
        "options": asdict(result.options),
        "counts": {**counts(result.comparison), "stale_before_rows": result.stale},
        "differences": [{"digest": key, "what": what} for key, what in result.comparison.differences],
        "hidden": _hidden_document(result.hidden),
    }
