"""What the tool asks of a database. The answers of one engine live in that engine's own module."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from django.db.backends.base.base import BaseDatabaseWrapper

from ..tables import Column, Kind, Reference, StoredColumn, Table

Row = tuple[Any, ...]
Convert = Callable[[Any], Any]

# Rows asked of the driver at once: few at first, so that wide rows cannot fill the memory, then as many as fit.
FIRST_FETCH = 16
LARGEST_FETCH = 2_000
FETCH_BYTES = 4 * 1024 * 1024


class Unstorable(ValueError):
    """A value that a column of the destination cannot hold as it is, or that its source cannot mean.

    ``kind`` tells what the value is without showing it, ``reason`` why it stops, ``advice`` what to do.
    """

    def __init__(self, kind: str, reason: str, advice: str) -> None:
        super().__init__(f"{kind}: {reason}. {advice}")
        self.kind, self.reason, self.advice = kind, reason, advice


class Severity(enum.Enum):
    """What an error of the database asks for."""

    RETRY = "retry"  # the same chunk may succeed: a lost link, a deadlock, a lock timeout
    DATA = "data"  # one row is the cause: look for it
    FATAL = "fatal"  # it needs a person: a full disk, missing rights, a changed schema


@dataclass(frozen=True)
class Fault:
    """What a database said about a row: its code and message without values, and the column if it named one."""

    code: str
    message: str
    column: str | None = None


@dataclass(frozen=True)
class Endpoint:
    """One side of a move, without any secret."""

    alias: str
    engine: str
    database: str
    host: str

    def __str__(self) -> str:
        return f"{self.alias!r}: {self.engine}, database {self.database!r} on {self.host}"


@dataclass(frozen=True)
class TakenOff:
    """An index or constraint that is off while rows are loaded, and the statements that take and restore it."""

    table: str
    kind: str
    name: str
    take_off: str
    put_back: str

    def as_json(self) -> dict[str, str]:
        return asdict(self)


class LimitName(enum.Enum):
    """What can be too much for a column; the arguments that go with each are in brackets."""

    LONGER_THAN = "longer than (characters)"
    LARGER_THAN = "larger than (bytes)"
    OUTSIDE = "outside of (smallest, largest)"
    NUL_CHARACTER = "holds the NUL character"
    NUL_ESCAPE = "holds the escape of the NUL character, in JSON"
    FOUR_BYTE_CHARACTER = "holds a character outside of the basic plane"
    NOT_A_NUMBER = "is not a number"
    INFINITE = "is infinite"
    MORE_DIGITS_THAN = "more significant digits than (digits)"
    MORE_WHOLE_DIGITS_THAN = "more digits before the decimal point than (digits)"
    MORE_DECIMALS_THAN = "more digits behind the decimal point than (digits)"
    FRACTIONAL_SECONDS = "has fractions of a second finer than (digits)"


@dataclass(frozen=True)
class Limit:
    """One thing that a destination's column cannot hold."""

    name: LimitName
    arguments: tuple[int, ...]
    reason: str
    advice: str


@dataclass(frozen=True)
class Suspicion:
    """An SQL condition that is true for values which the source holds and the field cannot mean."""

    condition: str
    reason: str
    advice: str


@dataclass(frozen=True)
class Counter:
    """A table's generator of new keys, and the next value it will give."""

    table: str
    column: str
    next_value: int | None
    problem: str | None = None


@dataclass(frozen=True)
class Target:
    """A column to write: its name, what its values are, and a field's own SQL around the parameter, if any."""

    name: str
    kind: Kind
    placeholder: str | None = None


class Writer(ABC):
    """Loads rows into one table, in the current transaction."""

    @abstractmethod
    def write(self, rows: Sequence[Row]) -> int:
        """Load converted rows and return the bytes that were sent."""


class Engine(ABC):
    """One database, asked through its Django connection. The answers here are the safe ones."""

    vendor: ClassVar[str]
    display_name: ClassVar[str]
    # Foreign keys do not bind while rows are loaded, and an explicit check at the end finds what dangles.
    can_switch_off_foreign_keys: ClassVar[bool] = False
    # The stored value of any column, read raw, is the same value in a column of the same type.
    is_raw_exact: ClassVar[bool] = False
    # What such a raw value is.
    raw_kind: ClassVar[Kind] = Kind.OTHER
    # Rows in the source can change under a run even though it reads in one transaction.
    snapshot_note: str | None = None

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    # -- the connection -------------------------------------------------------------------------------------

    @property
    def alias(self) -> str:
        return self.connection.alias

    def quote(self, name: str) -> str:
        """Quote an identifier for a statement that is executed with parameters."""
        return self.connection.ops.quote_name(name).replace("%", "%%")

    def execute(self, sql: str, params: Sequence[Any] = ()) -> None:
        """Run one statement; ``%`` in it must be doubled, as everywhere in this package."""
        with self.connection.cursor() as cursor:
            cursor.execute(*prepared(sql, params))

    def fetch_all(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        """Run one query and return its rows, for results that are known to be short."""
        with self.connection.cursor() as cursor:
            cursor.execute(*prepared(sql, params))
            return list(cursor.fetchall())

    def fetch_value(self, sql: str, params: Sequence[Any] = ()) -> Any:
        """Run one query and return the first value of its first row, or ``None``."""
        rows = self.fetch_all(sql, params)
        return rows[0][0] if rows else None

    @abstractmethod
    def describe(self) -> Endpoint:
        """Tell engine, version, database and host."""

    @abstractmethod
    def open_source(self) -> None:
        """Make the session read-only and begin the one snapshot that the run reads."""

    @abstractmethod
    def open_destination(self) -> None:
        """Set the session up for loading: strict, without time limits that end a long run."""

    def close(self) -> None:
        """End the session, and with it whatever was set up for it."""
        self.connection.close()

    @abstractmethod
    def is_same_database(self, other: Engine) -> bool:
        """Probe whether two connections of this engine reach the same physical database."""

    @abstractmethod
    def lock(self) -> bool:
        """Take the lock that keeps a second run off this destination; ``False`` where another run holds it."""

    @abstractmethod
    def unlock(self) -> None:
        """Give that lock back."""

    # -- the schema -----------------------------------------------------------------------------------------

    @abstractmethod
    def stored_columns(self, table: str) -> dict[str, StoredColumn]:
        """Describe the table's columns from the catalogue; empty where there is no such table."""

    def table_names(self) -> list[str]:
        """List the database's tables, views left out."""
        with self.connection.cursor() as cursor:
            return self.connection.introspection.table_names(cursor)

    def count(self, table: str, where: str = "", params: Sequence[Any] = ()) -> int:
        """Count a table's rows exactly."""
        condition = f" WHERE {where}" if where else ""
        return int(self.fetch_value(f"SELECT COUNT(*) FROM {self.quote(table)}{condition}", params))

    def is_empty(self, table: str) -> bool:
        return not self.fetch_all(f"SELECT 1 FROM {self.quote(table)} LIMIT 1")

    def triggers(self, tables: Sequence[str]) -> list[str]:
        """Name the users' triggers that would fire while these tables are loaded."""
        return []

    # -- values ---------------------------------------------------------------------------------------------

    @abstractmethod
    def stores(self, kind: Kind, stored: StoredColumn) -> bool:
        """Tell whether a column's real type is one that the shortcuts for ``kind`` are proven for."""

    @abstractmethod
    def storage(self, stored: StoredColumn) -> str:
        """Name the family of a column's real type; two columns of one family can hold each other's raw values."""

    def read_expression(self, column: Column, stored: StoredColumn) -> str:
        """Give the SQL by which a proven column is read."""
        return self.quote(column.name)

    def raw_expression(self, column: Column) -> str:
        """Give the SQL by which a column is read as it is stored, for a column of the same storage."""
        return self.quote(column.name)

    def as_text(self, name: str) -> str:
        """Give the SQL for a column as text, for functions that take nothing else."""
        return f"CAST({self.quote(name)} AS TEXT)"

    def loader(self, column: Column, stored: StoredColumn) -> Convert | None:
        """Give what turns a driver's value into the neutral one, or ``None`` where it is neutral already."""
        return None

    def dumper(self, column: Column, stored: StoredColumn) -> Convert | None:
        """Give what turns a neutral value into one for :class:`Writer`, or ``None`` where it can be taken as it is.

        It raises :exc:`Unstorable` for a value that the column would not give back unchanged.
        """
        return None

    def limits(self, column: Column, stored: StoredColumn) -> list[Limit]:
        """List what this column, as a destination, cannot hold."""
        return []

    def violation(self, limit: Limit, column: str, stored: StoredColumn) -> str | None:
        """Give the SQL condition for the source's values beyond ``limit``; ``None`` where there can be none.

        ``column`` is the quoted name.
        """
        return None

    def suspicions(self, column: Column, stored: StoredColumn) -> list[Suspicion]:
        """List the conditions for values that this database, as a source, would not give faithfully."""
        return []

    # -- rows -----------------------------------------------------------------------------------------------

    @abstractmethod
    def stream(self, sql: str, params: Sequence[Any]) -> Iterator[list[Row]]:
        """Run a query and give its rows in batches that stay within a few megabytes."""

    @abstractmethod
    def writer(self, table: str, targets: Sequence[Target]) -> Writer:
        """Give the bulk loader for a table."""

    def can_pipe_to(self, other: Engine) -> bool:
        """Tell whether rows can go to ``other`` without being looked at, where all column types agree."""
        return False

    def pipe(
        self, select: str, params: Sequence[Any], dest: Engine, table: str, targets: Sequence[Target]
    ) -> tuple[int, int]:
        """Send the rows of a query straight into a table; return the rows and bytes that went."""
        raise NotImplementedError

    def delete_rows(self, table: str) -> None:
        """Empty one table, within a transaction."""
        self.execute(f"DELETE FROM {self.quote(table)}")

    def empty(self, tables: Sequence[str]) -> None:
        """Empty these tables, children first, and no other table ever."""
        for table in tables:
            self.delete_rows(table)

    def bind_now(self) -> None:
        """Make deferred constraints speak now, while the rows that break them are known."""
        return

    # -- what is taken off while rows are loaded ----------------------------------------------------------------

    def removable(self, table: Table, *, indexes: bool) -> list[TakenOff]:
        """List what can be taken off a table that is empty, in the order in which it has to go."""
        return []

    def put_back(self, items: Sequence[TakenOff]) -> None:
        """Restore what was taken off, whatever is there already being left alone."""
        for item in items:
            if not self.exists(item):
                self.execute(item.put_back.replace("%", "%%"))

    def take_off(self, item: TakenOff) -> None:
        """Take one index or constraint off, unless it is gone already."""
        if self.exists(item):
            self.execute(item.take_off.replace("%", "%%"))

    def exists(self, item: TakenOff) -> bool:
        """Tell whether the index or constraint is there."""
        raise NotImplementedError

    def counters(self, table: Table) -> list[Counter]:
        """List the counters of a table; empty where it has none that a load leaves behind."""
        return []

    def reset_counter(self, counter: Counter) -> None:
        """Set a counter so that the next key is one above the largest."""
        return

    # -- references -------------------------------------------------------------------------------------------

    def orphan_query(self, table: str, reference: Reference, select: str) -> str:
        """Build the query for rows whose reference leads nowhere; ``child`` names the table in it."""
        quote = self.quote
        return (
            f"SELECT {select} FROM {quote(table)} child LEFT JOIN {quote(reference.target_table)} parent "
            f"ON child.{quote(reference.column)} = parent.{quote(reference.target_column)} "
            f"WHERE child.{quote(reference.column)} IS NOT NULL AND parent.{quote(reference.target_column)} IS NULL"
        )

    # -- errors -----------------------------------------------------------------------------------------------

    def owns(self, error: BaseException) -> bool:
        """Tell whether an error came from this engine's driver."""
        database: Any = self.connection.Database  # type: ignore[attr-defined]
        return isinstance(cause_of(error), database.Error)

    @abstractmethod
    def severity(self, error: BaseException) -> Severity:
        """Tell whether to try again, to look for the row, or to stop."""

    @abstractmethod
    def fault(self, error: BaseException, table: str) -> Fault:
        """Read the code, the message without values and the column out of an error."""


def prepared(sql: str, params: Sequence[Any]) -> tuple[str, tuple[Any, ...] | None]:
    """Give a statement and its parameters as every driver takes them.

    Drivers differ in whether ``%%`` means ``%`` where the parameters are empty, so it is settled here.
    """
    return (sql, tuple(params)) if params else (sql.replace("%%", "%"), None)


def cause_of(error: BaseException) -> BaseException:
    """Return the driver's error behind Django's."""
    return error.__cause__ or error


def row_bytes(rows: Sequence[Row]) -> int:
    """Estimate the memory that a row takes, from the texts and bytes in the rows."""
    return sum(len(value) for row in rows for value in row if isinstance(value, str | bytes)) // len(rows) + 64


def next_fetch(rows: Sequence[Row], current: int) -> int:
    """Choose how many rows to ask for next, from how large the last ones were."""
    fitting = FETCH_BYTES // row_bytes(rows[-64:])
    return max(1, min(LARGEST_FETCH, current * 8, fitting))
