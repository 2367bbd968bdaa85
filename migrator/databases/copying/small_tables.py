"""Small tables, copied together: the few rows of one take less time than the round trips of a transaction.

Tables share a transaction only as long as all goes well. After any error it is rolled back, and each of them is copied
by itself, so errors, retries and rejected rows are those of a single table.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from django.db import transaction

from ...conf import DEFAULT_CHUNK_SIZE
from ...errors import Interrupted
from ..engines.base.errors import Severity
from ..journal.journal import Journal
from ..journal.records import Chunk
from ..planning.plan import Plan, TablePlan, is_bound_late
from ..planning.table_route import Route, severity_of
from ..row_counts import RowCounts
from .chunk import copy_by_transport
from .row_by_row import release_values

# Of one transaction, which an interrupted run has to repeat.
MOST_TABLES, MOST_BYTES = 50, 32 * 1024 * 1024


@dataclass(frozen=True)
class SharedTransactions:
    """Which tables of a plan share a transaction. ``most_rows``: the rows of one, all tables together."""

    plan: Plan
    most_rows: int = DEFAULT_CHUNK_SIZE

    def can_hold(self, tables: Sequence[TablePlan]) -> bool:
        """Whether these tables, each of which is one chunk, can be copied in the same transaction."""
        size = sum(planned.source_rows * (self.plan.row_bytes(planned) or 0) for planned in tables)
        return (
            len(tables) <= MOST_TABLES
            and sum(planned.source_rows for planned in tables) <= self.most_rows
            and size <= MOST_BYTES
            and all(map(_can_share, tables))
        )

    def batches(
        self, groups: Iterable[Sequence[TablePlan]], small: Collection[str], done: Collection[str]
    ) -> Iterator[Sequence[TablePlan]]:
        """Yield the tables of groups as they are copied, parents first: a cycle, one table, or ``small`` ones together.

        Tables that are ``done``, of which nothing is copied, come as soon as they are met.
        """
        batch: list[TablePlan] = []
        for part in _parts(groups):
            names = {planned.table.name for planned in part}
            is_small = names.issubset(small) and self.can_hold(part)
            if names.issubset(done):
                yield part
            elif is_small and self.can_hold([*batch, *part]):
                batch += part
            else:
                if batch:
                    yield batch
                batch = [*part] if is_small else []
                if not is_small:
                    yield part
        if batch:
            yield batch


def _parts(groups: Iterable[Sequence[TablePlan]]) -> Iterator[Sequence[TablePlan]]:
    """Yield what has to be committed together: a cycle that is bound late, otherwise each table."""
    for group in groups:
        yield from [group] if is_bound_late(group) else ([planned] for planned in group)


def _can_share(planned: TablePlan) -> bool:
    """Whether a table may share a transaction: not if it locks writers out, or has more rows than were counted."""
    route = planned.route
    return not (route.disables_triggers or route.binds_late or planned.table.name in route.source.outside_snapshot)


def copy_together(tables: Sequence[tuple[Route, Chunk]], journal: Journal) -> dict[str, RowCounts] | None:
    """Copy tables in one transaction; return their counts by table, or ``None`` if nothing was copied.

    Those that are done already are only counted. Transient errors are raised, after which the transaction can be tried
    again.
    """
    route = tables[0][0]
    try:
        with transaction.atomic(using=route.dest.alias):
            return _copy(tables, journal)
    except Interrupted:
        raise
    except Exception as error:
        if severity_of(route, error) is Severity.RETRY:
            raise
        release_values(error)
        route.source.recover()
        return None
    finally:
        route.dest.connection.queries_log.clear()
        route.source.connection.queries_log.clear()


def _copy(tables: Sequence[tuple[Route, Chunk]], journal: Journal) -> dict[str, RowCounts]:
    done = journal.claim_tables([chunk for _, chunk in tables])
    left = [(route, chunk) for route, chunk in tables if chunk.table not in done]
    copied = {chunk.table: copy_by_transport(route, chunk.bounds()) for route, chunk in left}
    journal.save_tables([chunk for _, chunk in left], copied)
    return done | copied
