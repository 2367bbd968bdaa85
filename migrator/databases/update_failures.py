"""What stops the one transaction of an update, by the row and the constraint that are in the way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import Error, transaction

from ..console.wording import shortened
from ..errors import DataRejected
from .chunks import key_text
from .engines.base.engine import Engine
from .engines.base.errors import Severity
from .engines.base.session import Row
from .tables import Table
from .verification.compared_side import ComparedSide

UNWRITTEN = "Nothing was written. Call again with --update then."
NOT_DEFERRED = (
    "A foreign key of the destination that is checked at once has to be DEFERRABLE INITIALLY DEFERRED, as Django makes "
    "them. "
)


@contextmanager
def blaming(dest: Engine, table: Table | None = None) -> Iterator[None]:
    """Name the table and what the database said if it refuses something for good.

    Raises :exc:`~migrator.errors.DataRejected`; errors that may pass are left as they are.
    """
    try:
        with transaction.atomic(using=dest.alias):
            yield
    except Error as error:
        raise _refusal(dest, table, f"{table.label} in {dest.alias!r}" if table else repr(dest.alias), error) from error


def delete_rows(dest: Engine, table: Table, side: ComparedSide, keys: Sequence[Row]) -> None:
    """Delete the rows with these neutral keys.

    Raises :exc:`~migrator.errors.DataRejected` with the primary key of the first row that cannot be deleted.
    """
    try:
        with transaction.atomic(using=dest.alias):
            _delete(dest, table, side, keys)
        return
    except Error as error:
        refused = _refusal(dest, table, f"{table.label} in {dest.alias!r}", error)
    for key in keys:
        try:
            with transaction.atomic(using=dest.alias):
                _delete(dest, table, side, [key])
        except Error as error:
            place = f"{table.label} with primary key {key_text(table, key)} cannot be deleted or rewritten"
            raise _refusal(dest, table, place, error) from error
    raise refused


def _delete(dest: Engine, table: Table, side: ComparedSide, keys: Sequence[Row]) -> None:
    where, params = side.key_test(keys)
    dest.execute(f"DELETE FROM {dest.quote(table.name)}{where}", params)


def _refusal(dest: Engine, table: Table | None, place: str, error: Error) -> Exception:
    """Make the error that says what refused a change, outside of the savepoint that it failed in.

    One that may pass is returned as it is.
    """
    severity = dest.severity(error)
    if severity is Severity.RETRY:
        return error
    fault = dest.fault(error, table.name if table else "")
    advice = NOT_DEFERRED if severity is Severity.DATA else ""
    with contextlib.suppress(Error):
        if firing := dest.catalogue.triggers([table.name]) if table else []:
            advice = (
                f"Its triggers fire ({shortened([name for _, name in firing], 5)}): disable the one that refuses it. "
            )
    return DataRejected(f"{place}: {fault.message} [{fault.code}]. {advice}{UNWRITTEN}")
