"""Errors of the one transaction of an update, with the row and the constraint in question."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import Error, transaction

from ..console.wording import shortened
from ..errors import DataRejected
from .engines.base.engine import Engine
from .engines.base.errors import Severity
from .engines.base.session import Row
from .primary_keys import key_text
from .tables import Table
from .verification.compared_side import ComparedSide

UNWRITTEN = "Nothing was written. Run --update again after that."
NOT_DEFERRED = (
    "If a foreign key of the destination is checked at once, make it DEFERRABLE INITIALLY DEFERRED, as Django creates "
    "them. "
)


@contextmanager
def errors_named(dest: Engine, table: Table | None = None) -> Iterator[None]:
    """Run a block in a savepoint; if the database refuses something in it, name the table and the server's message.

    Raises :exc:`~migrator.errors.DataRejected`, and transient errors unchanged.
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
            row = f"{table.label} with primary key {key_text(table, key)} cannot be deleted or rewritten"
            raise _refusal(dest, table, row, error) from error
    raise refused


def _delete(dest: Engine, table: Table, side: ComparedSide, keys: Sequence[Row]) -> None:
    where, params = side.key_test(keys)
    dest.execute(f"DELETE FROM {dest.quote(table.name)}{where}", params)


def _refusal(dest: Engine, table: Table | None, what: str, error: Error) -> Exception:
    """Build the error for a change that was refused, after its savepoint was rolled back.

    A transient error is returned unchanged.
    """
    severity = dest.severity(error)
    if severity is Severity.RETRY:
        return error
    fault = dest.fault(error, table.name if table else "")
    advice = NOT_DEFERRED if severity is Severity.DATA else ""
    with contextlib.suppress(Error):
        if firing := dest.catalogue.triggers([table.name]) if table else []:
            advice = (
                f"Its triggers fire ({shortened([name for _, name in firing], 5)}): disable the one that refuses this. "
            )
    return DataRejected(f"{what}: {fault.message} [{fault.code}]. {advice}{UNWRITTEN}")
