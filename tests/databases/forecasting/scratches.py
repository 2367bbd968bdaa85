"""A third database for a pair of engines: the scratch of a forecast, as right after `migrate`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.management.running import another_alias, entry_of
from tests.servers.databases import FreshDatabases, Pair, engine_of


def third(pair: Pair) -> str | None:
    """Return an alias of the settings that the pair leaves free, on the destination's server; `None` without one."""
    engine = engine_of(pair.dest)
    if engine_of(pair.source) != engine:
        return f"{engine}_a"
    return "mysql_files" if engine == "mysql" else None


@contextmanager
def scratch_for(pair: Pair, databases: FreshDatabases) -> Iterator[str]:
    """Give a fresh database on the server of a pair's destination, which neither of its two is."""
    if (alias := third(pair)) is not None:
        databases.fresh(alias)
        yield alias
        return
    entry, engine = entry_of(pair.dest), engine_of(pair.dest)
    path = Path(entry["NAME"])
    name = f"{entry['NAME']}_scratch" if engine != "sqlite" else str(path.with_name("scratch.sqlite3"))
    with another_alias(f"{engine}_scratch", **{**entry, "NAME": name}) as alias, databases.another(alias):
        yield alias
