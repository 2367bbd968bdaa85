"""The values that some engine cannot hold, or returns in another form, from the table that the tests move."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.databases.edge_values import DIRT, EDGES, Dirt, Edge

from .markdown import code, table

ENGINES = {"postgresql": "PostgreSQL", "mysql": "MySQL, MariaDB", "sqlite": "SQLite"}
_ONE_OF_MYSQL = {"mariadb": "MariaDB", "mysql_itself": "MySQL"}
_LONGEST = 40


def counted() -> str:
    """Return how many values of how many fields the tests move."""
    values = sum(map(len, EDGES.values()))
    return f"The tests move {values:,} values of {len(EDGES)} types of fields between every pair of engines.\n"


def exceptions() -> str:
    """Return a table of the values that an engine refuses or rewrites."""
    rows = [
        (_field(model), _value(edge), *(_answer(edge, engine) for engine in ENGINES))
        for model, edges in EDGES.items()
        for edge in edges
        if edge.refused_by or edge.rewritten_by
    ]
    return table(("field", "value", *ENGINES.values()), rows)


def foreign_values() -> str:
    """Return a table of the values that a source may hold although Django cannot represent them."""
    rows = [
        (ENGINES[engine], _field(dirt.model), code(dirt.sql), ", ".join(_holders(dirt)) or "none")
        for engine, found in DIRT.items()
        for dirt in found
    ]
    return table(("source", "field", "value in SQL", "destinations that can hold it"), rows)


def _field(model: type[Any]) -> str:
    return code(type(model._meta.get_field("value")).__name__)


def _value(edge: Edge) -> str:
    shown = repr(edge.value)
    name = edge.name.replace("-", " ")
    return f"{name}: {code(shown)}" if len(shown) <= _LONGEST and shown.isascii() and shown.strip("'") != name else name


def _answer(edge: Edge, engine: str) -> str:
    if engine in edge.refused_by:
        return f"refused: {edge.refused_by[engine]}"
    if engine in edge.rewritten_by:
        return f"becomes {_short(edge.rewritten_by[engine])}"
    answers = []
    for name, title in _ONE_OF_MYSQL.items() if engine == "mysql" else ():
        if name in edge.refused_by:
            answers.append(f"refused by {title}: {edge.refused_by[name]}")
        if name in edge.rewritten_by:
            answers.append(f"becomes {_short(edge.rewritten_by[name])} on {title}")
    return "; ".join(answers) or "unchanged"


def _short(value: Any) -> str:
    shown = repr(value)
    return code(shown) if len(shown) <= _LONGEST else "the same number in plain digits"


def _holders(dirt: Dirt) -> Iterator[str]:
    for engine in dirt.kept_by:
        yield "MariaDB" if engine == "mysql" and dirt.only_mariadb else ENGINES[engine]
