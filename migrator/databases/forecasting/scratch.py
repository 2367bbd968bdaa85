"""The scratch of a forecast: a second database on the destination's server, which holds the sample for a while."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from django.db import Error

from ...conf import Settings
from ...console.interrupts import raising_interrupted
from ...console.wording import plural, shortened
from ...errors import Interrupted, MigratorError, Refused, UsageError
from ..endpoints import Endpoints, open_destination, refuse_common_tables, to_migrator_error
from ..engines.base.engine import Engine
from ..planning.foreign_keys import outside_references
from ..planning.plan import Plan


def check_scratch(source: str, dest: str, scratch: str, settings: Settings, tables: Sequence[str]) -> Iterator[str]:
    """Yield what the reader has to know of a scratch, before anything is written there.

    Raises :exc:`UsageError` or :exc:`Refused` if it is not a second database of the destination's engine.
    """
    for option, alias in (("--source", source), ("--dest", dest)):
        if scratch == alias:
            raise UsageError(f"--scratch and {option} are both {alias!r}. Nothing was written.")
    with ExitStack() as stack:
        there, here = (stack.enter_context(open_destination(alias, settings, tables)) for alias in (dest, scratch))
        if there.vendor != here.vendor:
            raise Refused(
                f"{scratch!r} is {here.display_name}, and {dest!r} is {there.display_name}. Nothing was written. The "
                "sample has to be copied to a database on the destination's server."
            )
        refuse_common_tables(there, here, tables, ". Nothing was written.")
        hosts = [engine.describe().host for engine in (here, there)]
        if hosts[0] != hosts[1]:
            yield f"{scratch!r} is on {hosts[0]} and {dest!r} on {hosts[1]}: another server may be faster or slower."


def refuse_filled(plan: Plan, scratch: Engine) -> None:
    """Raise :exc:`Refused` if a scratch holds rows that no migration made, or rows that need those to be deleted."""
    if plan.destroyed:
        rows = plural(sum(table.dest_rows or 0 for table in plan.destroyed), "row")
        labels = shortened([table.table.label for table in plan.destroyed])
        raise Refused(
            f"{plan.dest} holds {rows} that no forecast has copied: {labels}. Nothing was written. The tables of "
            "--scratch are emptied after a forecast: name a database without rows of yours."
        )
    emptied = [table.table for table in plan.emptied]
    if outside := outside_references(scratch, emptied) if emptied else []:
        raise Refused(
            f"The tables of {scratch.alias!r} would be emptied, and others reference them: {shortened(outside)}. "
            "Nothing was written. Forecast these tables as well."
        )


def what_is_left(endpoints: Endpoints) -> str:
    """Return what an interrupted forecast leaves in its scratch, and how to delete it."""
    source, scratch = endpoints.source.alias, endpoints.dest.alias
    return (
        f"{scratch!r} holds a part of the sample, and lacks indexes and keys. The next forecast deletes it first, and "
        f"so does batch_migrate --source {source} --dest {scratch} --cleanup."
    )


@contextmanager
def saying_what_is_left(endpoints: Endpoints) -> Iterator[None]:
    """Add to any error what the forecast leaves in its scratch."""
    left = what_is_left(endpoints)
    try:
        with raising_interrupted():
            yield
    except Interrupted as error:
        raise Interrupted(f"{error} {left}", error.exit_code - 128) from None
    except (MigratorError, Error) as error:
        known = (
            error if isinstance(error, MigratorError) else to_migrator_error(error, (endpoints.dest, endpoints.source))
        )
        known.steps += (left,)
        if known is error:
            raise
        raise known from error
