"""The table of versions in the documentation, made from the cells and their last results."""

from collections.abc import Iterable

from tests.matrix.cells import Cell, Result

_NAMES = {
    "postgresql": "PostgreSQL",
    "mysql": "MySQL",
    "mariadb": "MariaDB",
    "redis": "Redis",
    "valkey": "Valkey",
    "memcached": "memcached",
}


def _named(result: Result, names: Iterable[str]) -> str:
    found = [(name, result.versions[name]) for name in names if name in result.versions]
    return ", ".join(f"{_NAMES.get(name, name.removesuffix('-binary'))} {version}" for name, version in found)


def _row(cell: Cell, result: Result | None) -> list[str]:
    if result is None:
        return [f"`{cell.name}`", "", "", "", "", "not run yet"]
    return [
        f"`{cell.name}`",
        result.versions["Python"],
        result.versions["Django"],
        _named(result, ["postgresql", "psycopg", "psycopg2-binary"]),
        _named(result, ["mysql", "mariadb", "redis", "valkey", "memcached"]),
        f"{result.passed:,}{f', {result.failed:,} failed' if result.failed else ''} ({result.date})",
    ]


def render(cells: dict[str, Cell], results: dict[str, Result]) -> str:
    """Return the table in Markdown, with a row for each cell."""
    head = ["cell", "Python", "Django", "PostgreSQL and its driver", "other servers", "tests passed"]
    rows = [head, ["---"] * len(head), *(_row(cell, results.get(cell.name)) for cell in cells.values())]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
