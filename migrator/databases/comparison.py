"""``verify_counts``: two databases compared on their own, without a run: row counts, a sample or all rows."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, Unpack

from .. import conf
from ..console.command_line import option, positive_integer
from ..console.progress import Progress
from ..errors import UsageError
from .endpoints import Endpoints, open_for_reading
from .engines.base.run_locks import MOST_PROCESSES
from .engines.base.session_lifecycle import DatabaseInfo
from .findings import Finding
from .parallel.comparing import Helpers, Once, ValuesOfTables
from .planning.hidden_rows import refuse_hidden
from .planning.natural_keys import translations
from .planning.selection import EVERYTHING, Choice, select
from .planning.table_names import named_for
from .verification.contents import MOST_DIFFERENCES, Contents, Pairing, Sample
from .verification.counts import Verification, verify
from .verification.rejected_rows import RejectedRows, find_rejected, read_rejects
from .verification.table_comparison import compare_contents

MODES = ("count", "sample", "full")
SAMPLE = 3_000


@dataclass(frozen=True)
class CompareOptions:
    """How two databases are compared: each field is an option of ``verify_counts`` and a keyword of its function."""

    mode: str = option(
        "count",
        "Compare row counts, also the values of a sample of rows, or those of all rows.",
        choices=MODES,
    )
    sample: int = option(SAMPLE, "Rows of each table in --mode sample.", type=positive_integer, metavar="ROWS")
    seed: int | None = option(
        None, "Choose the same sample as an earlier call (default: a new one).", type=int, metavar="N"
    )
    max_diffs: int = option(
        MOST_DIFFERENCES,
        "How many differing rows to list for each table; all are counted.",
        type=positive_integer,
        metavar="N",
    )
    show_values: bool = option(False, "Show the values that differ; anyone who can read the output sees them.")
    rejects: Path | None = option(
        None,
        "The reject file of the run: rows in it that the destination lacks do not count as differences.",
        type=Path,
        metavar="FILE",
    )
    chunk_size: int | None = option(
        None,
        "Rows whose values are compared at once (default: MIGRATOR['CHUNK_SIZE'] or 10000).",
        type=positive_integer,
        metavar="ROWS",
    )
    jobs: int = option(
        1,
        "Processes that compare the values of all rows in parallel, each side in one snapshot.",
        type=positive_integer,
        metavar="N",
    )


class CompareKeywords(TypedDict, total=False):
    """The fields of :class:`CompareOptions`."""

    mode: str
    sample: int
    seed: int | None
    max_diffs: int
    show_values: bool
    rejects: Path | None
    chunk_size: int | None
    jobs: int


@dataclass(frozen=True)
class Comparison:
    """Two databases and what was found between them; ``sample`` says how rows were chosen if not all were compared."""

    source: DatabaseInfo
    dest: DatabaseInfo
    options: CompareOptions
    verification: Verification
    sample: Sample | None = None
    # What became of the rows that a run has rejected, if its file was given.
    rejected: RejectedRows | None = None
    notes: tuple[Finding, ...] = ()
    # Which tables were asked for.
    choice: Choice = EVERYTHING

    @property
    def exit_code(self) -> int:
        """0 if everything agrees, 3 if something differs, 4 if something could not be compared."""
        if not self.verification.is_clean:
            return 3
        return 4 if self.verification.unchecked else 0


def verify_counts(
    *,
    source: str,
    dest: str,
    labels: Sequence[str] = (),
    exclude: Sequence[str] = (),
    progress: Progress | None = None,
    **keywords: Unpack[CompareKeywords],
) -> Comparison:
    """Compare the tables of the project's models in both databases, each side in one snapshot.

    The keywords are the fields of :class:`CompareOptions`. ``mode`` is ``count`` (exact row counts, sequences and
    foreign keys), ``sample`` (also the values of about ``sample`` rows of each table, chosen by ``seed``) or ``full``
    (the values of all rows, compared by ``jobs`` processes). ``max_diffs`` rows that differ are listed for each table.
    ``rejects`` is the file of rows that a run has rejected, which may be missing in the destination. Content types and
    permissions that have other ids on the other side are compared by their natural keys, and so are foreign keys to
    them. Writes nothing.

    Raises :exc:`~migrator.errors.UsageError` for unknown aliases, labels and modes, and for a file that does not belong
    to these databases.
    """
    options = CompareOptions(**keywords)
    mode, rejects = options.mode, options.rejects
    if source == dest:
        raise UsageError(f"--source and --dest are both {source!r}.")
    if mode not in MODES:
        raise UsageError(f"mode is {mode!r}; it has to be one of {', '.join(MODES)}.")
    if not 1 <= options.jobs <= MOST_PROCESSES:
        raise UsageError(f"jobs is {options.jobs}; it has to be a number of processes from 1 to {MOST_PROCESSES}.")
    chosen = _sample(options) if mode == "sample" else None
    jobs = options.jobs if mode == "full" else 1
    with ExitStack() as stack:
        stack.enter_context(named_for(source, dest))
        selection = select(source=source, dest=dest, labels=labels, exclude=exclude)
        lines = read_rejects(rejects) if rejects else {}
        endpoints = stack.enter_context(open_for_reading(source, dest, selection.names, jobs))
        left, right = endpoints.source, endpoints.dest
        notes = refuse_hidden(left, right, selection.tables, reads_values=mode != "count")
        mappings = translations(left, right, selection.tables)
        rejected = find_rejected(rejects, lines, selection.tables, left, right, mappings) if rejects else None
        missing = rejected.missing if rejected else {}
        found = verify(left, right, selection.tables, {name: len(keys) for name, keys in missing.items()})
        if mode != "count":
            rows = {count.table: count.source_rows or 0 for count in found.counts}
            pairings = [
                Pairing(
                    table.with_generated(),
                    left,
                    right,
                    rows[table.name],
                    mappings=mappings[table.name],
                    rejected_keys=missing.get(table.name, frozenset()),
                )
                for table in selection.tables
            ]
            contents = _contents(endpoints, pairings, options, chosen, progress or Progress())
            found = dataclasses.replace(found, contents=contents)
        sides = left.describe(), right.describe()
        fewer = [endpoints.fewer_jobs] if endpoints.fewer_jobs else []
        return Comparison(*sides, options, found, chosen, rejected, (*notes, *fewer), selection.choice)


def _contents(
    endpoints: Endpoints,
    pairings: Sequence[Pairing],
    options: CompareOptions,
    sample: Sample | None,
    progress: Progress,
) -> tuple[Contents, ...]:
    size = options.chunk_size or conf.load().CHUNK_SIZE or conf.DEFAULT_CHUNK_SIZE
    rows = [pairing.rows if sample is None else min(pairing.rows, sample.rows) for pairing in pairings]
    with progress.run({"comparing": 1.0}):
        progress.stage("comparing", sum(rows))
        if sample is None:
            helpers = Helpers(Once(endpoints, progress), only_read=True)
            return ValuesOfTables(pairings, size, options.max_diffs).by(helpers, progress)
        return compare_contents(pairings, sample=sample, chunk_size=size, most=options.max_diffs, progress=progress)


def _sample(options: CompareOptions) -> Sample:
    return Sample(options.sample, secrets.randbelow(10**6) if options.seed is None else options.seed)
