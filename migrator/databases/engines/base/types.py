"""Which types of columns a database has, and what a column of each of them holds unchanged."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping

from ...tables import Kind, StoredColumn
from .session import DatabaseSession


class Types(DatabaseSession):
    """The types that Django gives columns of one database, and a closed table of others that hold the same values."""

    @abstractmethod
    def declared(self, db_types: Collection[str]) -> Mapping[str, str]:
        """Return what the catalogue says of a column that was made with each of these types (``Field.db_type()``).

        A type that the database does not know is left out.
        """

    def is_declared(self, declared: str, stored: StoredColumn) -> bool:
        """Whether a column has the type that :meth:`declared` gave."""
        return declared in (stored.declared, stored.domain)

    @abstractmethod
    def holds(self, kind: Kind, stored: StoredColumn) -> bool:
        """Whether a column gives back every value of a kind as Django wrote it, if none is beyond its limits.

        The limits are those of :meth:`~.values.Values.limits`. ``False`` of every type that this is not known of.
        """

    @abstractmethod
    def widens(self, declared: str, stored: StoredColumn) -> bool:
        """Whether a column, with a field of the project's own, holds or refuses what a ``declared`` one would hold.

        Such a field's values are read back after they were written, so it is enough that the type is of one family.
        """

    def change(self, table: str, stored: StoredColumn, declared: str) -> str:
        """Return the advice to give a column the ``declared`` type."""
        return f"Change the column's type there to {declared}"

    def is_read_as_another_moment(self, kind: Kind, stored: StoredColumn) -> bool:
        """Whether Django reads a column of the source as something from which the moment cannot be told."""
        return False
