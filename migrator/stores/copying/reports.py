"""What the reports of all copies have in common. ``noun`` is what is copied: a key or a session."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ...console.reports import Fact, Figure, Grid, Mood, Point, Report, Verdict
from ...console.wording import plural, seconds_text
from .records import MAX_PROBLEMS_LISTED, CopyCounts, CopyPlan, CopyResult

# Counts that are shown even if they are zero.
ALWAYS = ("read", "written", "present", "expired")
# Digests that are listed on a terminal.
SHOWN_DIGESTS = 5
BY_DIGEST = "Keys by digest (SHA-256, 16 digits)"


def plan_report(
    title: str, noun: str, plan: CopyPlan[Any], *, in_dest: int | str | None, facts: Sequence[Fact]
) -> Report:
    """Return the report of what a copy would do, before it does anything."""
    count = "given keys" if plan.in_source is None else plural(plan.in_source, noun)
    copied = count
    if plan.expected is None and plan.in_source:
        copied = f"those of {count} whose keys begin with the --match prefix"
    elif plan.expected != plan.in_source:
        copied = f"{plan.expected:,} of {count}"
    there = plural(in_dest, noun) if isinstance(in_dest, int) else in_dest
    return Report(
        title=title,
        verdict=Verdict(Mood.NEUTRAL, "PLAN", f"Copy {copied}."),
        facts=(
            Fact("from", f"{plan.source}: {count}"),
            Fact("to", f"{plan.dest}: {there}" if there else plan.dest),
            *facts,
        ),
        points=tuple(Point(Mood.NOTE, f"{note}.") for note in plan.notes),
    )


def dry_run_report(noun: str, result: CopyResult[Any], document: Mapping[str, Any], again: str) -> Report:
    """Return the report of a copy that only was planned; exit code 3 if there is nothing to copy."""
    plan = result.plan
    is_empty = plan.in_source == 0
    sentence = f"Nothing was written. {plan.nothing_found if is_empty else ''}".rstrip()
    return Report(
        title=f"Dry run of a copy of {noun}s",
        verdict=Verdict(Mood.WARNING if is_empty else Mood.NEUTRAL, "DRY RUN", sentence),
        next=() if is_empty else (again,),
        document=document,
        exit_code=3 if is_empty else 0,
        is_dry_run=True,
    )


def copied_sentence(noun: str, result: CopyResult[Any]) -> str:
    """Return how much was copied, and how fast."""
    rate = sum(counts.read for counts in result.passes) / result.seconds if result.seconds else 0.0
    count = plural(result.total.written, noun)
    return f"{count} copied in {seconds_text(result.seconds)} ({rate:,.0f} read per second)"


def ends_facts(plan: CopyPlan[Any]) -> tuple[Fact, ...]:
    """Return both stores, for files: on a terminal, the plan has shown them."""
    return Fact("from", "", full=plan.source), Fact("to", "", full=plan.dest)


def figures(noun: str, result: CopyResult[Any], left_out: int = 0) -> tuple[Figure, ...]:
    """Return how many records were copied, how many should have been and were not, and how many were too old."""
    failed = result.total.failures + result.total.missed + left_out
    return (
        Figure(f"{noun}s copied", f"{result.total.written:,}"),
        Figure(f"{noun}s not copied", f"{failed:,}", mood=Mood.BAD if failed else Mood.NEUTRAL),
        Figure(f"{noun}s expired", f"{result.total.expired:,}"),
    )


def count_grid(noun: str, counts: CopyCounts, words: Mapping[str, str], also: Sequence[str] = ()) -> Grid:
    """Return the table of the counts that ``words`` describes; a zero only if it is in ``ALWAYS`` or in ``also``."""
    shown = [(words[name], count) for name, count in counts.by_name(words).items() if count or name in (*ALWAYS, *also)]
    return Grid("", (f"{noun}s", "count"), (*shown, *sorted(counts.losses.items())))


def digest_grids(
    title: str, headers: tuple[str, str], rows: Sequence[tuple[str, str]], shown: int | None = None
) -> list[Grid]:
    """Return the table of keys by their digests, if there are any; ``shown`` of them, or all that are listed."""
    if not rows:
        return []
    is_cut = len(rows) == MAX_PROBLEMS_LISTED
    more = f"; the first {MAX_PROBLEMS_LISTED:,}" if is_cut else ""
    if shown is not None and len(rows) > shown:
        more = f"; the first {shown}, -v 2 lists " + (f"{len(rows):,}" if is_cut else f"all {len(rows):,}")
    return [Grid(f"{title}{more}", headers, tuple(rows[:shown]))]


def problem_grids(counts: CopyCounts, shown: int | None = None) -> list[Grid]:
    """Return the table of the records with a problem, if there are any."""
    return digest_grids(BY_DIGEST, ("digest", "what"), counts.problems, shown)


def limit_points(noun: str, result: CopyResult[Any]) -> Iterator[Point]:
    """Yield which records the options kept this copy from seeing."""
    options = result.plan.options
    keys = "Keys" if noun == "key" else "Sessions with keys"
    if result.plan.has_given_keys:
        yield Point(Mood.NOTE, f"{keys} that were not given were not copied.")
    if options.match:
        yield Point(Mood.NOTE, f"{keys} that do not begin with the --match prefix were not copied.")
    if options.limit is not None and any(counts.read >= options.limit for counts in result.passes):
        yield Point(Mood.NOTE, f"--limit stopped the copy after {plural(options.limit, noun)}.")


def eviction_points(result: CopyResult[Any]) -> Iterator[Point]:
    """Yield how many keys the destination has evicted."""
    if result.evicted:
        evicted = f"The destination evicted {plural(result.evicted, 'key')} during the copy"
        yield Point(
            Mood.BAD, f"{evicted} because its memory was full. Give it more memory, and copy again.", stays=True
        )


def document(schema: str, result: CopyResult[Any]) -> dict[str, Any]:
    """Return the part of the JSON report that all copies have."""
    return {
        "schema": schema,
        "dry_run": result.is_dry_run,
        "source": result.plan.source,
        "dest": result.plan.dest,
        "in_source": result.plan.in_source,
        "notes": list(result.plan.notes),
        "options": asdict(result.plan.options),
        "seconds": round(result.seconds, 3),
        "evicted": result.evicted,
        "problems": [{"digest": key, "what": why} for key, why in result.total.problems],
    }
