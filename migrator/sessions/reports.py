"""The report of a session copy, from its records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from ..console.reports import Cell, Grid, Report
from ..console.wording import listed, plural
from .comparison import VerifyResult, counts
from .copying.run import CopyResult, SessionPlan
from .records import MAX_PROBLEMS_LISTED, Hidden, SessionCounts

WORDS = {
    "read": "read from the source",
    "written": "written",
    "present": "there already, left alone",
    "unchanged": "there already, unchanged since the pass before",
    "refreshed": "changed in the source, written again",
    "removed": "ended in the source, taken back",
    "ended": "ended in the destination since the switch, not brought back",
    "missed": "ended in the source, changed here since",
    "expired": "expired, not copied",
    "no_ttl": "without time to live",
    "skipped": "skipped for having no time to live",
    "changed_by_json": "changed by JSON",
    "unreadable": "unreadable",
    "foreign": "no sessions",
    "unsafe": "pickles that need more than the allow-list",
    "unfit": "not held by the destination",
}
# What is told even when it is nought.
ALWAYS = ("read", "written", "present", "expired", "unreadable")


def plan_report(plan: SessionPlan) -> Report:
    """Tell what a copy would do, before it does anything."""
    rows: tuple[tuple[Cell, ...], ...] = (
        ("from", plan.source, _counted(plan.in_source)),
        ("to", plan.dest, _counted(plan.in_dest)),
    )
    lines = [f"Sessions without time to live: {plan.options.no_ttl}.", *(f"Note: {note}." for note in plan.notes)]
    return Report("Copy sessions", (Grid("", ("", "place", "sessions"), rows),), tuple(lines))


def _counted(count: int | None) -> Cell:
    return "as keys are given" if count is None else count


def copy_report(result: CopyResult) -> Report:
    """Tell what a copy did, or what it would do. Exit code 4 where a session was not moved that should have been."""
    plan, total = result.plan, result.total
    if result.is_dry_run:
        return _dry_run_report(result)
    is_short = total.failures or total.missed or result.evicted or plan.hidden
    code = 4 if is_short else 3 if not (total.read or total.removed) else 0
    rate = sum(tally.read for tally in result.passes) / result.seconds if result.seconds else 0.0
    heading = f"Copied {plural(total.written, 'session')} in {result.seconds:.1f} s ({rate:,.0f} read in a second)"
    grids = [Grid("", ("sessions", "count"), tuple(_rows(total)))]
    if total.problems:
        rows: tuple[tuple[Cell, ...], ...] = tuple(total.problems)
        title = "Sessions by the digest of their key (SHA-256, 16 digits)"
        if len(rows) == MAX_PROBLEMS_LISTED:
            title += f"; the first {MAX_PROBLEMS_LISTED:,}"
        grids.append(Grid(title, ("digest", "what"), rows))
    grids += _unseen_grids(plan.hidden)
    return Report(heading, tuple(grids), tuple(_lines(result, code)), _document(result), code)


def _dry_run_report(result: CopyResult) -> Report:
    plan, done = result.plan, "Dry run: nothing was written."
    document = {**_document(result), "dry_run": True}
    if plan.hidden:
        count = sum(found.count for found in plan.hidden)
        lines = (done, *_unseen_lines(plan.hidden), f"{plural(count, 'session')} would be left out.")
        return Report("", tuple(_unseen_grids(plan.hidden)), lines, document, 4)
    if plan.in_source == 0:
        return Report("", (), (done, plan.nothing_found), document, 3)
    return Report(done, (), (), document)


def _unseen_lines(hidden: Sequence[Hidden]) -> list[str]:
    return [f"{found.reason}." for found in hidden]


def _unseen_grids(hidden: Sequence[Hidden]) -> list[Grid]:
    rows = tuple((key, "left out") for found in hidden for key in found.digests)[:MAX_PROBLEMS_LISTED]
    return [Grid("Left out, by the digest of the key", ("digest", "what"), rows)] if rows else []


def _rows(total: SessionCounts) -> list[tuple[Cell, ...]]:
    counts = [(name, getattr(total, name)) for name in WORDS]
    rows: list[tuple[Cell, ...]] = [(WORDS[name], count) for name, count in counts if count or name in ALWAYS]
    return rows + [(sentence, count) for sentence, count in sorted(total.losses.items())]


def _lines(result: CopyResult, code: int) -> list[str]:
    lines = []
    if len(result.passes) > 1:
        changes = ", ".join(f"{tally.changes:,}" for tally in result.passes)
        lines.append(f"Changes made by each pass: {changes}.")
    lines += _limits(result)
    if result.evicted:
        lines.append(
            f"The destination dropped {result.evicted:,} keys for want of room meanwhile: "
            "give it more memory, and copy again."
        )
    lines += _unseen_lines(result.plan.hidden)
    if code == 3:
        limits = " Its keys would have to begin as --match says." if result.plan.options.match else ""
        lines.append(result.plan.nothing_found or f"No session was read.{limits}")
    elif code == 0:
        lines.append(f"Every session that {_conditions(result.total)} is in the destination.")
    elif missed := result.total.failures + sum(found.count for found in result.plan.hidden):
        others = (
            ""
            if result.evicted or not result.total.read
            else f"; each other one that {_conditions(result.total)} is in the destination"
        )
        lines.append(f"{plural(missed, 'session')} could not be moved{others}.")
    if count := result.total.missed:
        lines.append(
            f"{plural(count, 'session')} ended in the source and changed here since: anyone with the cookie is still "
            "logged in. Run the same command with --end-missed to end them, or leave them."
        )
    return lines


def _limits(result: CopyResult) -> list[str]:
    """Say of which sessions nothing can be said."""
    options, lines = result.plan.options, []
    if result.plan.has_given_keys:
        lines.append("Sessions whose keys were not given were not looked for.")
    if options.match:
        lines.append("Sessions whose keys begin otherwise than --match says were not copied.")
    if options.limit is not None and any(tally.read >= options.limit for tally in result.passes):
        lines.append(f"--limit let {plural(options.limit, 'session')} be read, and no more.")
    if options.catch_up and result.passes and result.passes[-1].changes:
        lines.append(
            f"The last pass still made {plural(result.passes[-1].changes, 'change')}, so that more may have changed "
            "since: run it again, or raise --catch-up."
        )
    return lines


def _conditions(total: SessionCounts) -> str:
    """Say which sessions are in the destination."""
    found = ["was read", "had not expired"]
    found += ["had time to live"] if total.skipped else []
    found += ["was not ended meanwhile"] if total.removed else []
    found += ["was not ended there since the switch"] if total.ended else []
    return listed(found)


def _document(result: CopyResult) -> dict[str, Any]:
    def counts(tally: SessionCounts) -> dict[str, Any]:
        return {item.name: getattr(tally, item.name) for item in fields(tally) if item.name in WORDS}

    return {
        "schema": "migrator/copy-sessions@1",
        "dry_run": False,
        "source": result.plan.source,
        "dest": result.plan.dest,
        "in_source": result.plan.in_source,
        "in_dest": result.plan.in_dest,
        "notes": list(result.plan.notes),
        "options": asdict(result.plan.options),
        "seconds": round(result.seconds, 3),
        "evicted": result.evicted,
        "total": counts(result.total),
        "losses": dict(result.total.losses),
        "hidden": _hidden_document(result.plan.hidden),
        "passes": [counts(tally) for tally in result.passes],
        "problems": [{"digest": key, "what": why} for key, why in result.total.problems],
    }


def _hidden_document(hidden: Sequence[Hidden]) -> list[dict[str, Any]]:
    return [{"sessions": found.count, "why": found.reason, "digests": list(found.digests)} for found in hidden]


def comparison_report(result: VerifyResult) -> Report:
    """Tell what a comparison found: exit code 3 for differences, 4 where something could not be compared."""
    found, options = result.comparison, result.options
    unread = found.unreadable + found.unreadable_alike
    nothing = not (found.compared or found.found or unread or result.hidden)
    code = 3 if found.found or nothing or result.stale else 4 if unread or result.hidden else 0
    rows: list[tuple[Cell, ...]] = [
        ("in the source", found.in_source),
        ("in the destination", found.in_dest),
        ("compared", found.compared),
        ("equal", found.equal),
        ("missing in the destination", found.missing),
        ("only in the destination", found.extra),
        ("other data", found.data_differs if options.mode == "full" else None),
        ("other expiry", found.expiry_differs),
    ]
    rows += [("without time to live in the source", found.without_ttl)] if found.without_ttl else []
    rows += [("unreadable in the source", found.unreadable)] if found.unreadable else []
    rows += [("equal, and unreadable by these settings", found.unreadable_alike)] if found.unreadable_alike else []
    rows += [("in the cache before the table, otherwise than its rows", result.stale)] if result.stale else []
    grids = [Grid("", ("sessions", "count"), tuple(rows))]
    if found.differences:
        title = "Sessions by the digest of their key (SHA-256, 16 digits)"
        grids.append(Grid(title, ("digest", "what"), tuple(found.differences)))
    grids += _unseen_grids(result.hidden)
    heading = f"Compared {plural(found.compared, 'session')} in {found.seconds:.1f} s\n{result.source}\n{result.dest}"
    return Report(heading, tuple(grids), tuple(_verdict(result, code)), _comparison_document(result), code)


def _verdict(result: VerifyResult, code: int) -> list[str]:
    found, options = result.comparison, result.options
    lines = []
    if options.sample is not None:
        lines.append("A sample was compared: a single difference outside of it is not seen.")
    if options.mode == "quick":
        lines.append("Existence and expiry were compared, not the data: --mode full does.")
    lines += _unseen_lines(result.hidden)
    if result.has_given_keys:
        lines.append("Sessions whose keys were not given were not looked for.")
    if result.is_one_sided:
        lines.append("Sessions that only the destination has were not looked for: its keys cannot be listed.")
    if result.stale:
        lines.append(
            f"The cache before the destination's table holds {plural(result.stale, 'session')} otherwise than its "
            "rows, and the engine reads the cache first. Copy once more, or empty that cache of its sessions."
        )
    if code == 3 and not found.found and result.stale:
        lines.append("The rows are equal, and what the site reads is not.")
    elif code == 3 and not found.found:
        lines.append(f"Nothing was compared. {result.nothing_found}")
    elif code == 3:
        lines.append(f"{plural(found.found, 'session')} differ." if found.found > 1 else "1 session differs.")
    elif code == 4:
        if found.unreadable_alike:
            lines.append(
                f"{plural(found.unreadable_alike, 'session')} cannot be read with the keys and the serializer of these "
                "settings (SECRET_KEY, SECRET_KEY_FALLBACKS, SESSION_SERIALIZER): nobody is logged in by them."
            )
        count = found.unreadable + found.unreadable_alike + sum(part.count for part in result.hidden)
        lines.append(f"{plural(count, 'session')} could not be compared; nothing else differs.")
    else:
        lines.append("No difference was found.")
    return lines


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
