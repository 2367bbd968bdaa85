"""A sample that is copied to the scratch by the code that copies whole tables, and how long each of its steps took."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

from ..chunks import Bounds
from ..copying.drops import drop_objects
from ..copying.finish import RunFinisher, rows_of
from ..copying.load import Load
from ..copying.recreation import Recreator
from ..copying.rejects import Rejects
from ..engines.base.catalogue import INDEX, UNIQUE_KEY
from ..journal.records import Run
from ..parallel.coordinator import Coordinator
from ..planning.plan import Plan, TablePlan
from ..row_counts import RowCounts
from ..verification.compared_side import sides
from ..verification.contents import Pairing
from ..verification.rows import Found, differing_rows
from ..verification.run import verify_run
from ..verification.table_comparison import prover
from .model import Timing
from .sample import TableSample

# A sample stops at a row that no check before has found, as the move would.
ADVICE = "The move itself would stop at this row, too."


@dataclass(frozen=True)
class TrialTimes:
    """How long the sample took: rows and indexes by table name, then what is done once for all tables."""

    rows: Mapping[str, Timing]
    indexes: Mapping[str, Timing]
    keys: Timing
    values: Timing


@dataclass(frozen=True)
class Trial:
    """Copies samples to a scratch. ``plan`` is that of all rows, and ``run`` the record of what was dropped."""

    plan: Plan
    run: Run
    finisher: RunFinisher

    def measure(self, samples: Sequence[TableSample], share: float) -> TrialTimes:
        """Copy a share of the samples, recreate the indexes, check the keys, and return how long each took."""
        load = self._load(self.plan)
        ranges = {sample.table.name: sample.copied(load, share) for sample in samples}
        chosen = {name: bounds for name, bounds in ranges.items() if bounds}
        part = _part(self.plan, {s.table.name: s.rows_of(share) for s in samples if s.table.name in chosen})
        self._begin(part, chosen)
        counts: dict[str, RowCounts] = {}
        seconds = self._copy(part, counts)
        self.finisher.dest.detach_source()
        indexing = self._recreate_indexes()
        began = time.perf_counter()
        self._check_keys(part)
        keys = time.perf_counter() - began
        rows = {name: counts[name].rows_read for name in chosen}
        began = time.perf_counter()
        compared = sum(self._compare(sample.planned, sample.compared(load, share)) for sample in samples)
        values = Timing(compared, time.perf_counter() - began)
        return TrialTimes(
            {name: Timing(rows[name], seconds.get(name, 0.0)) for name in rows},
            {name: Timing(rows[name], indexing.get(name, 0.0)) for name in rows},
            Timing(sum(rows.values()), keys),
            values,
        )

    def empty(self) -> None:
        """Delete the sample."""
        names = [planned.table.name for planned in reversed(self.plan.tables)]
        self.finisher.retries.run(lambda: self.finisher.dest.empty(names))

    def restore(self) -> None:
        """Recreate everything that was dropped, in tables that are empty."""
        recreator = Recreator(self.finisher.dest, self.finisher.schedule(self.run.dropped_objects(), []))
        self.finisher.finish(self.run, self.plan, recreator, Rejects())

    # -- the steps of a trial -----------------------------------------------------------------------------------

    def _load(self, plan: Plan) -> Load:
        finisher = self.finisher
        return Load(plan, finisher.journal, Rejects(ADVICE), finisher.options.chunk_size, finisher.retries)

    def _begin(self, part: Plan, chosen: Mapping[str, Sequence[Bounds]]) -> None:
        """Drop what a run drops, empty the tables, and record the chunks to copy."""
        finisher = self.finisher
        drop_objects(finisher.dest, self.run.dropped_objects(), finisher.retries)
        self.empty()
        for planned in part.tables:
            finisher.journal.forget(planned.table.name)
            finisher.journal.add_chunks(planned.table.name, chosen[planned.table.name])

    def _copy(self, part: Plan, counts: dict[str, RowCounts]) -> Mapping[str, float]:
        """Copy the recorded chunks; return how many seconds each table took, together as long as all of them."""
        self.finisher.dest.expect_recreation(self.run.dropped_objects())
        load, seconds, began = self._load(part), dict[str, float](), time.perf_counter()
        last = began

        def note(complete: Mapping[str, int]) -> None:
            nonlocal last
            now = time.perf_counter()
            for name in complete:
                seconds[name] = (now - last) / len(complete)
            last = now

        with Coordinator(load) if part.jobs > 1 else nullcontext() as coordinator:
            if coordinator is None:
                load.copy_all(counts, note)
                return seconds
            load.copy_all(counts, complete=coordinator.copy(counts))
            elapsed = time.perf_counter() - began
        working = max(sum(one.seconds for one in counts.values()), 1e-9)
        return {name: elapsed * one.seconds / working for name, one in counts.items()}

    def _recreate_indexes(self) -> Mapping[str, float]:
        """Recreate indexes and unique keys, one after another, but no foreign keys: a sample has orphans."""
        items = [item for item in self.run.dropped_objects() if item.kind in (INDEX, UNIQUE_KEY)]
        recreator = Recreator(self.finisher.dest, self.finisher.schedule(items, rows_of(self.plan)))
        self.finisher.finish(self.run, self.plan, recreator, Rejects())
        return recreator.seconds

    def _check_keys(self, part: Plan) -> None:
        """Check foreign keys, row counts and sequences as the end of a run does; what is found does not matter.

        A foreign key that is not there is checked by a query, which costs about what its recreation does.
        """
        finisher = self.finisher
        verify = "none" if finisher.options.verify == "none" else "count"
        plan, options = replace(part, with_triggers=frozenset()), replace(finisher.options, verify=verify)
        finisher.retries.run(
            lambda: verify_run(finisher.retries.endpoints, plan, options, {}, finisher.console.progress)
        )

    def _compare(self, planned: TablePlan, ranges: Sequence[Bounds]) -> int:
        """Compare ranges of keys, by checksums where these prove them equal; return the rows."""
        route, found, proven = planned.route, Found(), 0
        pairing = Pairing(planned.table, route.source, route.dest, planned.source_rows, mappings=route.mappings)
        proof = prover(pairing, route.ends)
        here, there = sides(planned.table, route.ends, route.mappings)
        for bounds in ranges:
            self.finisher.interrupts.check()
            with route.source.reading_everything(), route.dest.reading_everything():
                if proof is not None and proof.proves_ranges and (rows := proof.rows(bounds)) is not None:
                    proven += rows
                    continue
                for _ in differing_rows(here, there, bounds, None, found):
                    pass
        return proven + found.looked_up


def _part(plan: Plan, rows: Mapping[str, int]) -> Plan:
    """Return the plan of a part of the rows, given by table; other tables are left out."""
    groups = (
        tuple(replace(one, source_rows=rows[one.table.name]) for one in group if one.table.name in rows)
        for group in plan.groups
    )
    return replace(plan, groups=tuple(filter(None, groups)))
