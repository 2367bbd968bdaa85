"""Rows of the source that conflict under an exclusion constraint of the destination, found before the first write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

from django.db import DatabaseError, transaction

from ...console.wording import plural
from ..engines.base.constraints import Exclusion
from ..engines.base.engine import Engine
from ..engines.base.session import Row
from ..findings import Cause, Finding, FoundRows
from ..primary_keys import key_text
from ..tables import Column
from .check_constraints import words_in
from .destination_trials import MOST_TRIED, Trial, TrialResult, can_be_tried, not_checked
from .source_view import View, view_of
from .table_route import Route

EXAMPLES = 3
# At most so many pairs of rows are compared: a server compares about ten million in a second.
MOST_COMPARISONS = 20_000_000


@dataclass(frozen=True)
class ExclusionRule:
    """An exclusion constraint of the destination as a question to the source."""

    exclusion: Exclusion
    fields: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def equalities(self) -> list[str]:
        """The names that queries give to the parts that are equal in every pair."""
        return [f"part_{number}" for number, part in enumerate(self.exclusion.parts) if part.is_equality]


def exclusion_rules(
    route: Route, source_has: Sequence[Exclusion], dest_has: Sequence[Exclusion]
) -> Iterator[ExclusionRule]:
    """Yield the exclusion constraints that the destination enforces and the source doesn't."""
    enforced = {(found.parts, found.condition) for found in source_has if found.covers_children}
    for exclusion in dest_has:
        if (exclusion.parts, exclusion.condition) not in enforced:
            yield _rule(route, exclusion)


def _rule(route: Route, exclusion: Exclusion) -> ExclusionRule:
    columns = [column for column in route.table.with_generated().columns if column.name in route.stored]
    compared = words_in(*(part.expression for part in exclusion.parts))
    read = compared | words_in(exclusion.condition or "")
    fields = tuple(column.attname for column in columns if column.name in compared)
    return ExclusionRule(exclusion, fields, tuple(column for column in columns if column.name in read))


def check_exclusions(
    route: Route, engine: Engine, rules: Sequence[ExclusionRule], rows: int
) -> Iterator[Finding | Trial]:
    """Find rows that break rules, by queries in a session of the source; ``rows``: how many the table has.

    Only engines with such constraints have their operators. Rows of another engine are tried in the destination.
    """
    in_session = replace(route, source=engine)
    for rule in rules:
        what = f"exclusion constraint {rule.exclusion.name}"
        columns = tuple(column.name for column in rule.columns)
        try:
            if route.source.vendor == route.dest.vendor:
                view = view_of(in_session, engine, rule.columns)
                yield from _find(in_session, engine, rule, view)
            elif rows <= MOST_TRIED and can_be_tried(route, columns):
                yield Trial(what, columns, partial(_conflicts_in_dest, rule), partial(_finding, route, rule))
            else:
                yield not_checked(route, what)
        except (DatabaseError, _TooMany):
            yield not_checked(route, what)


class _TooMany(DatabaseError):
    """More than ``MOST_COMPARISONS`` pairs of rows would have to be compared."""


def _find(route: Route, engine: Engine, rule: ExclusionRule, view: View) -> Iterator[Finding]:
    grouped = _grouped(rule, view)
    with engine.tentatively():
        rejected, examples = _conflicts(engine, rule, view, grouped)
    if rejected:
        yield _finding(route, rule, rejected, examples, partial(_all_pairs, rule, view, grouped))


def _conflicts(engine: Engine, rule: ExclusionRule, view: View, grouped: str) -> tuple[int, list[Row]]:
    groups = ", ".join([*rule.equalities, "island"])
    counted = f"SELECT COUNT(*) AS n FROM grouped GROUP BY {groups}"
    query = f"{grouped} SELECT COALESCE(SUM(n * (n - 1) / 2), 0) FROM ({counted}) counted"
    comparisons = int(engine.fetch_value(query, view.params))
    if comparisons > MOST_COMPARISONS:
        raise _TooMany
    return _find_rejected(engine, rule, view, grouped) if comparisons else (0, [])


def _conflicts_in_dest(rule: ExclusionRule, dest: Engine, view: View) -> TrialResult:
    """Find rows that conflict with another, among those copied into the destination's temporary table."""
    grouped = _grouped(rule, view)
    with transaction.atomic(using=dest.alias):
        rejected, examples = _conflicts(dest, rule, view, grouped)
        every = list(_all_pairs(rule, view, grouped, dest)) if rejected else []
    return TrialResult(rejected, examples, every)


def _finding(
    route: Route,
    rule: ExclusionRule,
    rejected: int,
    examples: Sequence[Row],
    every: Callable[[Engine], Iterator[Row]],
) -> Finding:
    table, width, dest = route.table, len(route.table.key), route.dest.alias
    shown = (f"{key_text(table, pair[:width])} conflicts with {key_text(table, pair[width:])}" for pair in examples)
    named = f" (for example primary key {', '.join(shown)})" if width else ""
    conflicts = "conflicts" if rejected == 1 else "conflict"
    return Finding(
        f"{table.label}.{', '.join(rule.fields)}" if rule.fields else table.label,
        f"{plural(rejected, 'row')} {conflicts} with another under the exclusion constraint {rule.exclusion.name} of "
        f"{dest!r}{named}",
        "Correct or delete one row of each pair in the source.",
        is_about_rows=True,
        rows=FoundRows(table.name, Cause.CONFLICTING, every),
    )


def _grouped(rule: ExclusionRule, view: View) -> str:
    """Return the beginning of a query that defines ``grouped``: the rows that the constraint applies to, in groups.

    They are numbered in the order in which they are loaded. Only rows of the same group can conflict: rows with equal
    parts, and with ranges in the same ``island``, which is an interval that ranges cover without a gap.
    """
    parts = rule.exclusion.parts
    tests = [f"({part.expression}) IS NOT NULL" for part in parts]
    if rule.exclusion.condition is not None:
        tests.append(f"({rule.exclusion.condition})")
    values = [f"({part.expression}) AS part_{number}" for number, part in enumerate(parts)]
    bounds = next((part.bounds for part in parts if part.bounds), None)
    low, high, is_closed = bounds or ("NULL", "NULL", "NULL")
    own = ", ".join([*values, f"{low} AS low", f"{high} AS high", f"{is_closed} AS is_closed"]).replace("%", "%%")
    where = " AND ".join(tests).replace("%", "%%")
    keys = "".join(f"{name}, " for name in view.key)
    ordering = f" ORDER BY {', '.join(view.key)}" if view.key else ""
    numbered = f"SELECT {keys}ROW_NUMBER() OVER ({ordering}) AS nth, {own} FROM {view.sql} WHERE {where}"
    if bounds is None:
        return f"WITH grouped AS (SELECT numbered.*, 0 AS island FROM ({numbered}) numbered)"
    among = f"PARTITION BY {', '.join(rule.equalities)} " if rule.equalities else ""
    ordered = f"{among}ORDER BY low NULLS FIRST, nth ROWS BETWEEN UNBOUNDED PRECEDING AND"
    goes_on = "BOOL_OR(high IS NULL) OVER before OR low <= MAX(high) FILTER (WHERE is_closed) OVER before"
    begins = f"CASE WHEN low >= MAX(high) OVER before AND ({goes_on}) IS NOT TRUE THEN 1 ELSE 0 END"
    return (
        f"WITH numbered AS ({numbered}), "
        f"begun AS (SELECT numbered.*, {begins} AS begins FROM numbered WINDOW before AS ({ordered} 1 PRECEDING)), "
        f"grouped AS (SELECT begun.*, SUM(begins) OVER ({ordered} CURRENT ROW) AS island FROM begun)"
    )


def _pairs_sql(rule: ExclusionRule, view: View, grouped: str) -> str:
    """Return the query for all pairs of rows in conflict: their numbers and their keys, the later row first."""
    names = ", ".join(["b.nth", "a.nth", *(f"b.{name}" for name in view.key), *(f"a.{name}" for name in view.key)])
    tests = ["a.nth < b.nth", "a.island = b.island"]
    for number, part in enumerate(rule.exclusion.parts):
        tests.append(f"a.part_{number} {part.operator} b.part_{number}".replace("%", "%%"))
    pairs = f"SELECT {names} FROM grouped a JOIN grouped b ON {' AND '.join(tests)} ORDER BY b.nth, a.nth"
    return f"{grouped} {pairs}"


def _find_rejected(engine: Engine, rule: ExclusionRule, view: View, grouped: str) -> tuple[int, list[Row]]:
    """Count the rows that conflict with one that is kept, and return a few of these pairs of keys."""
    rejected: set[int] = set()
    examples: list[Row] = []
    with engine.reading_everything():
        for later, earlier, *keys in chain.from_iterable(engine.stream(_pairs_sql(rule, view, grouped), view.params)):
            if earlier in rejected or later in rejected:
                continue
            rejected.add(later)
            if len(examples) < EXAMPLES:
                examples.append(tuple(keys))
    return len(rejected), examples


def _all_pairs(rule: ExclusionRule, view: View, grouped: str, source: Engine) -> Iterator[Row]:
    with source.reading_everything():
        for row in chain.from_iterable(source.stream(_pairs_sql(rule, view, grouped), view.params)):
            yield row[2:]
