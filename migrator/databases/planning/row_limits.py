"""What a row must meet beyond the types of its columns: NOT NULL, the character set, and the size of a statement."""

from __future__ import annotations

from collections.abc import Iterator

from ..tables import Column, Kind
from .check_constraints import RowRule
from .constraint_sql import Sql
from .table_route import Route


def limit_rules(route: Route, most_bytes: int | None) -> Iterator[RowRule]:
    """Yield the conditions that rows must meet and the source does not enforce.

    ``most_bytes``: the largest size of a row that the destination takes.
    """
    yield from _empty_rules(route)
    yield from _character_rules(route)
    if most_bytes is not None and (rule := _size_rule(route, most_bytes)):
        yield rule


def _empty_rules(route: Route) -> Iterator[RowRule]:
    """Yield that a column must have a value, if only the destination's is NOT NULL."""
    for column in route.table.columns:
        own, other = route.ends.of(column)
        if own.nullable and not other.nullable:
            yield RowRule(
                "NOT NULL",
                f"{{}} no value in {column.attname}, which {route.dest.alias!r} does not allow to be NULL",
                (column.attname,),
                (column,),
                Sql(f"{route.source.quote(column.name)} IS NOT NULL"),
                ("has", "have"),
                as_stored=True,
                advice="Give it a value in the source, or drop NOT NULL in the destination.",
            )


def _character_rules(route: Route) -> Iterator[RowRule]:
    source, dest = route.source, route.dest
    for column in route.table.columns:
        own, other = route.ends.of(column)
        is_text = column.kind in (Kind.TEXT, Kind.OTHER) and source.values.storage(own) == "text"
        if not is_text and column.kind is not Kind.JSON:
            continue
        text = source.quote(column.name) if is_text else source.values.as_text(column.name)
        characters = dest.constraints.characters(route.table.name, column.name)
        if characters is None or source.constraints.characters(route.table.name, column.name) == characters:
            continue
        name, ranges = characters
        condition = source.values.has_characters_outside(text, ranges)
        if condition is not None:
            yield RowRule(
                name,
                f"{{}} a character in {column.attname} that {name}, the character set of {other.declared} in "
                f"{dest.alias!r}, does not have",
                (column.attname,),
                (column,),
                Sql(f"{source.quote(column.name)} IS NULL OR NOT ({condition})"),
                ("has", "have"),
                as_stored=True,
            )


def _size_rule(route: Route, most: int) -> RowRule | None:
    source = route.source
    columns = [column for column in route.table.columns if _can_be_large(route, column, most)]
    if not columns:
        return None
    sizes = [f"COALESCE({source.values.size(c.name, route.stored[c.name])}, 0)" for c in columns]
    return RowRule(
        "max_allowed_packet",
        f"{{}} more bytes than the {most:,} that {route.dest.alias!r} takes at once (max_allowed_packet)",
        tuple(column.attname for column in columns),
        tuple(columns),
        Sql(f"{' + '.join(sizes)} < {most}"),
        ("has", "have"),
        as_stored=True,
        advice="Raise max_allowed_packet on that server, or shorten these values.",
    )


def _can_be_large(route: Route, column: Column, most: int) -> bool:
    own, other = route.ends.of(column)
    is_sized = column.kind in (Kind.TEXT, Kind.JSON, Kind.BINARY, Kind.OTHER)
    is_text_or_bytes = route.source.values.storage(own) in ("text", "binary") or column.kind is Kind.JSON
    declared = [length for length in (own.max_length, other.max_length) if length is not None]
    declared += [length // 4 for length in (own.max_bytes, other.max_bytes) if length is not None]
    return is_sized and is_text_or_bytes and not (declared and min(declared) * 4 < most)
