"""What the destination's constraints will refuse of the source's rows, asked of the source before the first write.

Only what the destination really has, and what the source's own catalogue doesn't prove.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..endpoints import Endpoints
from ..engines.base.engine import Engine
from ..findings import Finding
from .check_constraints import check_rows, check_rules
from .destination_trials import Trial, answers
from .exclusion_constraints import check_exclusions, exclusion_rules
from .parallel_queries import ParallelQueries
from .plan import TablePlan
from .row_limits import limit_rules
from .schema import StoredTables
from .taken_values import taken_trials
from .unique_constraints import check_unique, unique_rules


def ask_about_constraints(
    sessions: ParallelQueries,
    endpoints: Endpoints,
    tables: Sequence[TablePlan],
    source_has: StoredTables,
    dest_has: StoredTables,
    *,
    adds_rows: bool,
) -> Mapping[str, Callable[[], list[Finding]]]:
    """Ask for rows that constraints of the destination refuse; what this returns gives the findings, by table.

    ``adds_rows``: to those that the destination has.
    """
    filled = [planned.table.name for planned in tables if planned.source_rows]
    own, others = endpoints.source.constraints, endpoints.dest.constraints
    unique = own.unique_indexes(filled), others.unique_indexes(filled)
    checks = own.checks(filled), others.checks(filled)
    exclusions = own.exclusions(filled), others.exclusions(filled)
    most = endpoints.dest.most_row_bytes() if filled else None

    def asked(planned: TablePlan) -> Callable[[], list[Finding]]:
        route, name, rows = planned.route, planned.table.name, planned.source_rows
        has = source_has[name], dest_has[name]
        rules, pairs = [], []
        if rows > 1:
            rules = list(unique_rules(route, *has, unique[0][name], unique[1][name]))
            pairs = list(exclusion_rules(route, has[0], exclusions[0][name], exclusions[1][name]))
        conditions = [*check_rules(route, *has, checks[0][name], checks[1][name]), *limit_rules(route, *has, most)]
        taken = list(taken_trials(route, unique[1][name])) if adds_rows and planned.dest_rows else []
        if not (rules or pairs or conditions or taken):
            return list

        def look(engine: Engine) -> list[Finding | Trial]:
            found = list(check_unique(route, engine, rules, has[0], rows))
            found += check_exclusions(route, engine, pairs, *has, rows)
            return found + list(check_rows(route, engine, conditions, *has))

        looked = sessions.ask(look, rows)

        def answer() -> list[Finding]:
            found = looked()
            known = [one for one in found if isinstance(one, Finding)]
            return [*known, *answers(route, [*(one for one in found if isinstance(one, Trial)), *taken])]

        return answer

    return {planned.table.name: asked(planned) for planned in tables if planned.source_rows}
