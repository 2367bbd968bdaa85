"""The reports of a session copy and of a comparison, from their records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..console.reports import Cell, Grid, Report
from ..console.wording import listed, plural
from ..stores.copying import reports
from ..stores.copying.records import MAX_PROBLEMS_LISTED, CopyCounts, CopyResult
from .comparison import VerifyResult, counts
from .records import Hidden, SessionPlan

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


def plan_report(plan: SessionPlan) -> Report:
    """Return the report of what a copy would do, before it does anything."""
    lines = [f"Sessions without time to live: {plan.options.no_ttl}."]
    in_dest = "given keys" if plan.in_dest is None else plan.in_dest
    return reports.plan_report("Copy sessions", "session", plan, in_dest=in_dest, lines=lines)


def copy_report(result: CopyResult[SessionPlan]) -> Report:
    """Return the report of what a copy did or would do. Exit code 4 if not every session was copied that should be."""
    plan, total = result.plan, result.total
    if result.is_dry_run:
        return _dry_run_report(result)
    is_short = total.failures or total.missed or result.evicted or plan.hidden
    code = 4 if is_short else 3 if not (total.read or total.removed) else 0
    grids = [*reports.count_grids("session", total, WORDS, also=["unreadable"]), *_hidden_grids(plan.hidden)]
    heading = reports.heading("session", result)
    return Report(heading, tuple(grids), tuple(_lines(result, code)), _document(result), code)


def _dry_run_report(result: CopyResult[SessionPlan]) -> Report:
    plan, done, document = result.plan, "Dry run: nothing was written.", _document(result)
    if plan.hidden:
        count = sum(found.count for found in plan.hidden)
        lines = (done, *_hidden_lines(plan.hidden), f"{plural(count, 'session')} would be left out.")
        return Report("", tuple(_hidden_grids(plan.hidden)), lines, document, 4)
    if plan.in_source == 0:
        return Report("", (), (done, plan.nothing_found), document, 3)
    return Report(done, (), (), document)


def _hidden_lines(hidden: Sequence[Hidden]) -> list[str]:
    return [f"{found.reason}." for found in hidden]


def _hidden_grids(hidden: Sequence[Hidden]) -> list[Grid]:
    rows = tuple((key, "left out") for found in hidden for key in found.digests)[:MAX_PROBLEMS_LISTED]
    return [Grid("Left out, by the digest of the key", ("digest", "what"), rows)] if rows else []


def _lines(result: CopyResult[SessionPlan], code: int) -> list[str]:
    lines = []
    if len(result.passes) > 1:
        changes = ", ".join(f"{counts.changes:,}" for counts in result.passes)
        lines.append(f"Changes made by each pass: {changes}.")
    lines += [*reports.limit_lines("session", result), *_unfinished_lines(result), *reports.eviction_lines(result)]
    lines += _hidden_lines(result.plan.hidden)
    if code == 3:
        limits = " Their keys would have to begin with the --match prefix." if result.plan.options.match else ""
        lines.append(result.plan.nothing_found or f"No session was read.{limits}")
    elif code == 0:
        lines.append(f"Every session that {_conditions(result.total)} is in the destination.")
    elif failed := result.total.failures + sum(found.count for found in result.plan.hidden):
        others = (
            ""
            if result.evicted or not result.total.read
            else f"; every other session that {_conditions(result.total)} is in the destination"
        )
        lines.append(f"{plural(failed, 'session')} could not be copied{others}.")
    if count := result.total.missed:
        lines.append(
            f"{plural(count, 'session')} ended in the source and changed here since: anyone with the cookie is still "
            "logged in. Run the same command with --end-missed to end them, or leave them."
        )
    return lines


def _unfinished_lines(result: CopyResult[SessionPlan]) -> list[str]:
    if not (result.plan.options.catch_up and result.passes and result.passes[-1].changes):
        return []
    changes = plural(result.passes[-1].changes, "change")
    return [
        f"The last pass still made {changes}, so more may have changed since. Run the command again, or raise "
        "--catch-up."
    ]


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
        ("different data", found.data_differs if options.mode == "full" else None),
        ("different expiry", found.expiry_differs),
    ]
    rows += [("without time to live in the source", found.without_ttl)] if found.without_ttl else []
    rows += [("unreadable in the source", found.unreadable)] if found.unreadable else []
    rows += [("equal, but unreadable with these settings", found.unreadable_alike)] if found.unreadable_alike else []
    rows += [("different in the cache in front of the table", result.stale)] if result.stale else []
    grids = [Grid("", ("sessions", "count"), tuple(rows))]
    if found.differences:
        title = "Keys by digest (SHA-256, 16 digits)"
        grids.append(Grid(title, ("digest", "what"), tuple(found.differences)))
    grids += _hidden_grids(result.hidden)
    heading = f"Compared {plural(found.compared, 'session')} in {found.seconds:.1f} s\n{result.source}\n{result.dest}"
    return Report(heading, tuple(grids), tuple(_verdict(result, code)), _comparison_document(result), code)


def _verdict(result: VerifyResult, code: int) -> list[str]:
    found, options = result.comparison, result.options
    lines = []
    if options.sample is not None:
        lines.append("Only a sample was compared: a difference in the other sessions is not found.")
    if options.mode == "quick":
        lines.append("Existence and expiry were compared, but not the data. --mode full compares the data, too.")
    lines += _hidden_lines(result.hidden)
    if result.has_given_keys:
        lines.append("Sessions with keys that were not given were not compared.")
    if result.is_one_sided:
        lines.append("Sessions that only the destination has were not found: its keys cannot be listed.")
    if result.stale:
        lines.append(
            f"The cache in front of the destination's table differs from its rows in "
            f"{plural(result.stale, 'session')}, and the engine reads the cache first. Copy once more, or delete the "
            "sessions from that cache."
        )
    if code == 3 and not found.found and result.stale:
        lines.append("The rows are equal, but what the site reads is not.")
    elif code == 3 and not found.found:
        lines.append(f"Nothing was compared. {result.nothing_found}")
    elif code == 3:
        lines.append(f"{plural(found.found, 'session')} differ." if found.found > 1 else "1 session differs.")
    elif code == 4:
        if found.unreadable_alike:
            lines.append(
                f"{plural(found.unreadable_alike, 'session')} cannot be read with the keys and the serializer of these "
                "settings (SECRET_KEY, SECRET_KEY_FALLBACKS, SESSION_SERIALIZER): they log no one in."
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
