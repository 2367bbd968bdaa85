"""The column types of a database, and which values each holds unchanged."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping

from ...tables import Kind, StoredColumn
from .session import DatabaseSession


class Types(DatabaseSession):
    """The types that Django gives columns of one database, and a closed table of others that hold the same values."""

    @abstractmethod
    def declared(self, db_types: Collection[str]) -> Mapping[str, str]:
        """Return how the catalogue describes a column that was created with each of these types (``Field.db_type()``).

        A type that the database does not know is omitted.
        """

    def is_declared(self, declared: str, stored: StoredColumn) -> bool:
        """Whether a column has the type that :meth:`declared` returned."""
        return declared in (stored.declared, stored.domain)

    @abstractmethod
    def holds(self, kind: Kind, stored: StoredColumn) -> bool:
        """Whether a column returns every value of a kind as Django wrote it, if none is beyond its limits.

        The limits are those of :meth:`~.values.Values.limits`. ``False`` for every type that isn't known to do so.
        """

    @abstractmethod
    def widens(self, declared: str, stored: StoredColumn) -> bool:
        """Whether a column of a custom field stores or rejects each value that a ``declared`` column would store.

        Such a field's values are read back after they were written, so it is enough that the type is of one family.
        """

    def change(self, table: str, stored: StoredColumn, declared: str) -> str:
        """Return the advice to give a column the ``declared`` type."""
        return f"Change the column's type there to {declared}"

    def is_read_as_another_moment(self, kind: Kind, stored: StoredColumn) -> bool:
        """Whether Django reads the moments in a column of the source as other moments."""
        return False
