"""Rows of the source that the destination's constraints would reject, found before the first write.

Only constraints that the destination really has, and that the source's own catalogue doesn't prove, are checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from ..endpoints import Endpoints
from ..engines.base.engine import Engine
from ..findings import Finding
from .check_constraints import RowRule, check_rows, check_rules
from .destination_trials import Trial, run_trials
from .exclusion_constraints import ExclusionRule, check_exclusions, exclusion_rules
from .parallel_queries import ParallelQueries, completed, deferred
from .plan import TablePlan
from .row_limits import limit_rules
from .taken_values import taken_trials
from .unique_constraints import check_unique
from .unique_rules import UniqueRule, unique_rules


@dataclass(frozen=True)
class _Rules:
    """What is checked of one table."""

    unique: Sequence[UniqueRule | str]
    exclusions: Sequence[ExclusionRule]
    conditions: Sequence[RowRule]
    taken: Sequence[Trial]

    def __bool__(self) -> bool:
        return bool(self.unique or self.exclusions or self.conditions or self.taken)


def ask_about_constraints(
    sessions: ParallelQueries,
    endpoints: Endpoints,
    tables: Sequence[TablePlan],
    *,
    adds_rows: bool,
) -> Mapping[str, Future[list[Finding]]]:
    """Queue queries for rows that constraints of the destination reject; return the findings by table name.

    ``adds_rows``: the destination keeps its rows, and unique values must not repeat theirs.
    """
    filled = [planned.table.name for planned in tables if planned.source_rows]
    source, dest = endpoints.source.constraints, endpoints.dest.constraints
    unique = source.unique_indexes(filled), dest.unique_indexes(filled)
    checks = source.checks(filled), dest.checks(filled)
    exclusions = source.exclusions(filled), dest.exclusions(filled)
    most_bytes = endpoints.dest.most_row_bytes() if filled else None

    def rules_of(planned: TablePlan) -> _Rules:
        route, name, has_several = planned.route, planned.table.name, planned.source_rows > 1
        return _Rules(
            list(unique_rules(route, unique[0][name], unique[1][name])) if has_several else [],
            list(exclusion_rules(route, exclusions[0][name], exclusions[1][name])) if has_several else [],
            [*check_rules(route, checks[0][name], checks[1][name]), *limit_rules(route, most_bytes)],
            list(taken_trials(route, unique[1][name])) if adds_rows and planned.dest_rows else [],
        )

    return {planned.table.name: _ask(sessions, planned, rules_of(planned)) for planned in tables if planned.source_rows}


def _ask(sessions: ParallelQueries, planned: TablePlan, rules: _Rules) -> Future[list[Finding]]:
    if not rules:
        return completed([])
    asked = sessions.ask(partial(_find, planned, rules), planned.source_rows)

    def answer() -> list[Finding]:
        found = asked.result()
        trials = [one for one in found if isinstance(one, Trial)]
        known = [one for one in found if isinstance(one, Finding)]
        return [*known, *run_trials(planned.route, [*trials, *rules.taken])]

    return deferred(answer)


def _find(planned: TablePlan, rules: _Rules, engine: Engine) -> list[Finding | Trial]:
    route, rows = planned.route, planned.source_rows
    return [
        *check_unique(route, engine, rules.unique, rows),
        *check_exclusions(route, engine, rules.exclusions, rows),
        *check_rows(route, engine, rules.conditions),
    ]
