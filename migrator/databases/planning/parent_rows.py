"""What the chosen rows point at, and the keys that they take, held against the destination before the first write."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from ..chunks import Restriction
from ..endpoints import Endpoints
from ..findings import Finding
from .foreign_keys import Orphans, existing_keys, field_name, label_of, missing_parents, orphan_rows, taken_rows
from .natural_keys import Mappings
from .plan import TablePlan


def check_parents(
    endpoints: Endpoints,
    tables: Sequence[TablePlan],
    mappings: Mappings,
    awaited: Collection[str] = (),
    *,
    trusts_whole: bool = True,
) -> Iterator[Finding]:
    """Check that what rows point at is either part of the run, as ``awaited`` tables are, or in the destination.

    ``trusts_whole``: that it is there has been checked where the source's whole table is part of the run.
    """
    selected: dict[str, Restriction | None] = dict.fromkeys(awaited)
    selected |= {table.table.name: table.route.restriction for table in tables}
    for table in tables:
        chosen = table.route.restriction
        for absent in missing_parents(
            endpoints.source, endpoints.dest, table.table, chosen, selected, mappings, trusts_whole=trusts_whole
        ):
            yield Finding(
                table.table.label,
                f"{absent}; that is neither part of this run nor in {endpoints.dest.alias!r}",
                _advice_on_parents(absent, selected),
                is_about_rows=True,
                rows=orphan_rows(absent, chosen),
            )


def _advice_on_parents(absent: Orphans, selected: Mapping[str, Restriction | None]) -> str:
    """Say how chosen rows get the rows that they point at."""
    target = absent.reference.target_table
    if target not in selected:
        return f"Copy the rows of {label_of(target)} too."
    if selected[target] is None:
        return "Delete or correct these rows in the source."
    lookup = f"{field_name(absent.table, absent.reference)}__LOOKUP=VALUE"
    return (
        f"The filter leaves those rows of {label_of(target)} out. Copy {absent.table.label} in a command of its own, "
        f"with that filter through its field: --filter {lookup}."
    )


def check_added(endpoints: Endpoints, tables: Sequence[TablePlan], mappings: Mappings) -> Iterator[Finding]:
    """Check a move that adds rows to those that the destination has."""
    yield from check_parents(endpoints, tables, mappings, trusts_whole=False)
    for table in tables:
        count, examples = existing_keys(endpoints.source, endpoints.dest, table.table, table.route.restriction)
        if count:
            yield Finding(
                table.table.label,
                f"{count:,} of the chosen rows have a primary key that the destination already has "
                f"(for example {', '.join(examples)})",
                "Choose rows that are not there yet, or delete them there.",
                is_about_rows=True,
                rows=taken_rows(endpoints.dest, table.table, table.route.restriction),
            )
