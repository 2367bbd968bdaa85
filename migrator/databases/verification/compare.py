"""Two databases compared on their own and without a copy before: their counts, a sample of their rows, or all rows."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ... import conf
from ...console.progress import Progress
from ...errors import UsageError
from ..endpoints import open_for_reading
from ..engines.base.engine import DatabaseInfo
from ..findings import Finding
from ..planning.hidden_rows import refuse_hidden
from ..planning.natural_keys import translations
from ..planning.selection import select
from ..planning.table_names import named_for
from .contents import MOST_DIFFERENCES, Pairing, Sample, compare_contents
from .counts import Verification, verify
from .rejected_rows import RejectedRows, find_rejected, read_rejects

MODES = ("count", "sample", "full")
SAMPLE = 3_000


@dataclass(frozen=True)
class Comparison:
    """Two databases and what was found between them; ``sample`` tells how rows were chosen where not all were."""

    source: DatabaseInfo
    dest: DatabaseInfo
    mode: str
    verification: Verification
    sample: Sample | None = None
    # What became of the rows that a run has rejected, if its file was given.
    rejected: RejectedRows | None = None
    notes: tuple[Finding, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 where everything agrees, 3 where something differs, 4 where something could not be compared."""
        if not self.verification.is_clean:
            return 3
        return 4 if self.verification.unchecked else 0


def verify_counts(
    *,
    source: str,
    dest: str,
    labels: Sequence[str] = (),
    exclude: Sequence[str] = (),
    mode: str = "count",
    sample: int = SAMPLE,
    seed: int | None = None,
    max_diffs: int = MOST_DIFFERENCES,
    rejects: Path | None = None,
    chunk_size: int | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare the tables of the project's models in both databases, each side in one snapshot.

    ``mode`` is ``count`` (exact counts, counters and foreign keys), ``sample`` (also the values of some ``sample``
    rows of each table, chosen by ``seed``) or ``full`` (the values of all rows). ``max_diffs`` rows that differ are
    listed for each table. ``rejects`` is the file of rows that a run has rejected: that the destination lacks them is
    no difference. Content types and permissions that both sides have under other ids are compared by what identifies
    them, and so is what refers to them. Writes nothing. Raises :exc:`~migrator.errors.UsageError` for unknown aliases,
    labels and modes, and for a file that is not one of these databases.
    """
    if source == dest:
        raise UsageError(f"--source and --dest are both {source!r}.")
    if mode not in MODES:
        raise UsageError(f"mode is {mode!r}; it is one of {', '.join(MODES)}.")
    chosen = Sample(sample, secrets.randbelow(10**6) if seed is None else seed) if mode == "sample" else None
    with ExitStack() as stack:
        stack.enter_context(named_for(source, dest))
        selection = select(source=source, dest=dest, labels=labels, exclude=exclude)
        lines = read_rejects(rejects) if rejects else {}
        left, right = stack.enter_context(open_for_reading(source, dest, selection.names))
        notes = refuse_hidden(left, right, selection.tables, reads_values=mode != "count")
        mappings = translations(left, right, selection.tables)
        rejected = find_rejected(rejects, lines, selection.tables, left, right, mappings) if rejects else None
        missing = rejected.missing if rejected else {}
        found = verify(left, right, selection.tables, {name: len(keys) for name, keys in missing.items()})
        if mode != "count":
            rows = {count.table: count.source_rows or 0 for count in found.counts}
            contents = compare_contents(
                [
                    Pairing(
                        table,
                        left,
                        right,
                        rows[table.name],
                        mappings=mappings[table.name],
                        rejected_keys=missing.get(table.name, frozenset()),
                    )
                    for table in selection.tables
                ],
                sample=chosen,
                chunk_size=chunk_size or conf.load().CHUNK_SIZE or conf.DEFAULT_CHUNK_SIZE,
                most=max_diffs,
                progress=progress or Progress(),
            )
            found = dataclasses.replace(found, contents=contents)
        return Comparison(left.describe(), right.describe(), mode, found, chosen, rejected, tuple(notes))
