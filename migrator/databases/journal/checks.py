"""Whether a journal can be believed: its own consistency, and the format in which it was written."""

from __future__ import annotations

from collections.abc import Iterable

from ... import __version__
from ...errors import MigratorError, Refused
from ..engines.base.engine import Engine
from ..primary_keys import decode_key
from .format import FORMAT
from .records import AFTERWARDS, NOT_UNFINISHED, TABLES, UNFINISHED, Run

OTHER_COLUMNS = "its tables have other columns than this version of migrator uses"
UNREADABLE = "the record of the run cannot be read"


class DamagedJournal(MigratorError):
    """The journal cannot show what an unfinished run has done."""


def damaged(alias: str, what: str) -> DamagedJournal:
    """Build the error for a journal that contradicts itself."""
    return DamagedJournal(
        f"The journal of the unfinished run in {alias!r} is damaged: {what}. It cannot show what was copied. "
        f"Drop the tables {' and '.join(TABLES)} there, or rename them if they are not migrator's, and "
        "compare the indexes, keys and triggers with the migrations. Then start over: batch_migrate with --replace "
        f"{alias} copies all rows again, and with --update it rewrites only what differs."
    )


def holds_unfinished_run(engine: Engine) -> bool:
    """Whether a run into this database is unfinished: rows are missing, or dropped objects are not recreated.

    No statement of it can fail, because that would end the snapshot of a source.
    """
    present = engine.visibility.created_here(TABLES)
    if TABLES[0] in present and "state" in engine.catalogue.stored_columns(TABLES[0]):
        states = {state for (state,) in engine.fetch_all(f"SELECT state FROM {engine.quote(TABLES[0])}")}
        if states:
            return not states <= set(NOT_UNFINISHED)
    return TABLES[1] in present and not engine.is_empty(TABLES[1])


def check_run(alias: str, run: Run) -> None:
    """Raise :exc:`DamagedJournal` if the record of an unfinished run cannot be read.

    One of another format is only read as far as ``--cleanup`` needs. Raises :exc:`Refused` if that is not possible.
    """
    try:
        written_in = run.written_in
        run.recorded_identity()
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise damaged(alias, UNREADABLE) from error
    try:
        run.dropped_objects()
    except (ValueError, TypeError, LookupError) as error:
        if not written_in.is_ours:
            raise Refused(
                f"{_other_format(alias, run)} Nothing was written. Complete or abandon the run with "
                f"{written_in.way_to_it}."
            ) from error
        raise damaged(alias, UNREADABLE) from error
    if written_in.is_ours and run.state not in UNFINISHED:
        raise damaged(alias, f"the run's state is {run.state!r}")


def check_chunks(alias: str, ranges: Iterable[tuple[str, int, str | None, str | None]]) -> None:
    """Raise :exc:`DamagedJournal` unless the chunks of each table cover all keys without a gap.

    ``ranges``: the table, the number and the bounds of each chunk, those of one table in their order.
    """
    expected: dict[str, tuple[int, str | None]] = {}
    for table, number, lower, upper in ranges:
        if number == AFTERWARDS:
            continue
        at = expected.get(table, (0, None))
        try:
            for bound in (upper,) if lower == at[1] else (lower, upper):
                decode_key(bound)
        except (ValueError, TypeError, LookupError) as error:
            raise damaged(alias, f"a bound of table {table!r} cannot be read") from error
        if (number, lower) != at:
            raise damaged(alias, f"the chunks of table {table!r} have a gap")
        expected[table] = number + 1, upper
    for table, (_, upper) in expected.items():
        if upper is not None:
            raise damaged(alias, f"the chunks of table {table!r} have no end")


def refuse_other_format(alias: str, run: Run) -> None:
    """Raise :exc:`Refused` for a run whose record has a format that this release cannot resume."""
    if not run.written_in.is_ours:
        raise Refused(
            f"{_other_format(alias, run)} Nothing was written. Resume the run with {run.written_in.way_to_it}, "
            "or pass --cleanup to abandon it: that recreates what it dropped, and leaves the copied rows."
        )


def _other_format(alias: str, run: Run) -> str:
    written_in = run.written_in
    return (
        f"migrator {written_in.release} recorded the unfinished run in {alias!r} in format {written_in.format} of its "
        f"journal. This is migrator {__version__}, which reads format {FORMAT}."
    )
