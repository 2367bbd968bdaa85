"""The checks of a plan as a table, and the report of ``migrator_doctor``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...console.reports import Assessment, Check, Fact, Grid, Mood, Point, Report, Verdict, record
from ...console.wording import plural
from ..doctor import Diagnosis, Side
from ..planning.checks import CheckResult, Outcome
from ..planning.plan import Plan
from .commands import command_line

SCHEMA = "migrator/doctor@1"
SHOWN_FINDINGS = 5  # of each check
MOODS = {
    Outcome.PASSED: Mood.GOOD,
    Outcome.WARNING: Mood.WARNING,
    Outcome.FAILED: Mood.BAD,
    Outcome.NOT_MADE: Mood.NEUTRAL,
}


def checks_grid(checks: Sequence[CheckResult]) -> Grid:
    """Return a table of all checks: also of those that passed."""
    rows = tuple((str(one.outcome), one.check.title, len(one.findings) or None) for one in checks)
    return Grid("Checks", ("result", "what is right if it passes", "findings"), rows)


def described(results: Sequence[CheckResult], plan: Plan | None) -> tuple[Check, ...]:
    """Describe checks for pages; rows that a run of the plan rejects do not stop it."""
    return tuple(
        Check(MOODS[outcome], str(outcome), result.check.title, tuple(map(str, result.findings)))
        for result in results
        for outcome in [_outcome(result, plan)]
    )


def _outcome(result: CheckResult, plan: Plan | None) -> Outcome:
    stopping = [finding for finding in result.findings if finding.stops and not (plan and finding in plan.rejecting)]
    return Outcome.WARNING if result.outcome is Outcome.FAILED and not stopping else result.outcome


def checks_document(checks: Sequence[CheckResult]) -> list[dict[str, Any]]:
    """Describe all checks for programs."""
    return [
        {
            "id": one.check.id,
            "title": one.check.title,
            "result": str(one.outcome),
            "findings": [finding.document() for finding in one.findings],
        }
        for one in checks
    ]


def doctor_report(found: Diagnosis) -> Report:
    """Describe what the checks found, and what to do."""
    grids = [_settings_grid(found.source, found.dest)] if found.source and found.dest else []
    verdict, grid = _verdict(found), checks_grid(found.checks)
    return Report(
        title="Checkup",
        verdict=verdict,
        facts=tuple(_facts(found)),
        points=tuple(_points(found)),
        grids=(grid,),
        details=(*grids, grid),
        assessment=Assessment("Checkup", verdict, described(found.checks, found.plan), grid),
        next=tuple(_next_steps(found)),
        document=_document(found),
        exit_code=found.exit_code,
    )


def _verdict(found: Diagnosis) -> Verdict:
    counts = [_counted(outcome, count) for outcome in Outcome if (count := found.count(outcome))]
    ready = "Nothing was written." if found.exit_code else "A run can start. Nothing was written."
    sentence = f"{plural(len(found.checks), 'check')}: {', '.join(counts)}. {ready}"
    if found.exit_code:
        return Verdict(Mood.BAD, "NOT READY", sentence)
    return Verdict(Mood.WARNING if found.count(Outcome.WARNING) else Mood.GOOD, "READY", sentence)


def _facts(found: Diagnosis) -> Iterator[Fact]:
    for label, side in (("from", found.source), ("to", found.dest)):
        if side:
            yield Fact(label, str(side.database))
    yield Fact("versions", ", ".join(f"{name} {version}" for name, version in found.versions))
    if found.plan and found.plan.awaited:
        tables = plural(len(found.plan.awaited), "table")
        yield Fact(
            "not checked",
            f"{tables} that migrations will create or change. The run checks them after migrating and before it copies "
            "a row.",
        )


def _next_steps(found: Diagnosis) -> Iterator[str]:
    if found.plan and not found.exit_code:
        ends = found.plan.source.alias, found.plan.dest.alias, found.plan.choice
        yield command_line("batch_migrate", *ends, *(["--migrate"] if found.plan.migrates else []), "--dry-run")


def _settings_grid(source: Side, dest: Side) -> Grid:
    sides = [{"database": str(side.database), "driver": side.driver, **dict(side.settings)} for side in (source, dest)]
    names = list(dict.fromkeys(name for side in sides for name in side))
    rows = tuple((name, *(side.get(name) for side in sides)) for name in names)
    return Grid("Databases", ("", "source", "destination"), rows)


def _points(found: Diagnosis) -> Iterator[Point]:
    for outcome, mood, word in ((Outcome.FAILED, Mood.BAD, "Failed"), (Outcome.WARNING, Mood.WARNING, "Warning")):
        for one in found.checks:
            if one.outcome is outcome:
                start = f"{word} ({one.check.id}):"
                yield from (Point(mood, f"{start} {finding}") for finding in one.findings[:SHOWN_FINDINGS])
                if rest := len(one.findings[SHOWN_FINDINGS:]):
                    yield Point(mood, f"{start} {plural(rest, 'more finding')}; --format json lists them all.")


def _counted(outcome: Outcome, count: int) -> str:
    return plural(count, str(outcome)) if outcome is Outcome.WARNING else f"{count} {outcome}"


def _document(found: Diagnosis) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "versions": dict(found.versions),
        **{name: side and _side(side) for name, side in (("source", found.source), ("dest", found.dest))},
        "checks": checks_document(found.checks),
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        **record(side.database, "alias", "engine", "database", "host"),
        "driver": side.driver,
        "settings": dict(side.settings),
    }
