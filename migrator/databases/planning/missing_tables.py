"""Tables that a database lacks: one finding if it lacks all of them, otherwise one for each way to get them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...console.wording import plural, shortened
from ..engines.base.engine import Engine
from ..findings import Finding
from ..tables import Table
from .pending_migrations import Pending


def missing_tables(
    engine: Engine, absent: Sequence[Table], count: int, *, creatable: Pending | None, is_source: bool
) -> Iterator[Finding]:
    """Report the ``absent`` of ``count`` tables; ``creatable``: what ``--migrate`` would do, ``None`` without it."""
    if len(absent) == count > 1 and is_source:
        yield _none_to_read(engine, count)
        return
    if len(absent) == count > 1 and (creatable is None or all(creatable.creates(table.model) for table in absent)):
        yield _none_to_fill(engine, count, creatable)
        return
    by_way: dict[str, list[Table]] = {}
    for table in absent:
        by_way.setdefault(_way(table, creatable), []).append(table)
    for way, tables in by_way.items():
        yield _one(engine, tables[0], way) if len(tables) == 1 else _several(engine, tables, count, way)


def _way(table: Table, creatable: Pending | None) -> str:
    if creatable is None:
        return "Apply the project's migrations there"
    if creatable.creates(table.model):
        return "Pass --migrate to create {it}"
    return "No pending migration creates {it}: run manage.py makemigrations, create {it} yourself"


def _one(engine: Engine, table: Table, way: str) -> Finding:
    return Finding(
        table.label,
        f"{engine.alias!r} has no table {table.name!r}",
        f"{way.format(it='it')}, {grant_advice(engine)}or leave the model out with --exclude.",
    )


def _several(engine: Engine, tables: Sequence[Table], count: int, way: str) -> Finding:
    labels = shortened([table.label for table in tables])
    part = "all" if len(tables) == count else f"{len(tables):,} of the"
    return Finding(
        engine.alias,
        f"it lacks {part} {plural(count, 'table')} of this run: those of {labels}",
        f"{way.format(it='them')}, {grant_advice(engine)}or leave the models out with --exclude.",
    )


def _none_to_fill(dest: Engine, count: int, creatable: Pending | None) -> Finding:
    # Not `migrate --database`, where --migrate is possible: a data migration without `using` would write to `default`.
    way = f"Run manage.py migrate --database {dest.alias}" if creatable is None else "Pass --migrate to create them"
    ways = f"{way}, or {grant_advice(dest)}".rstrip(" ,").removesuffix(", or")
    return Finding(dest.alias, f"it lacks all {plural(count, 'table')} of this run", f"{ways}.")


def _none_to_read(source: Engine, count: int) -> Finding:
    return Finding(
        source.alias,
        f"it lacks all {plural(count, 'table')} of this run",
        f"Correct its entry in DATABASES, {grant_advice(source)}or swap --source and --dest.",
    )


def grant_advice(engine: Engine) -> str:
    """Return what else helps if the engine hides tables that a user has no rights on; empty for other engines."""
    return "grant this user rights on all of it, " if engine.features.hides_tables_without_rights else ""
