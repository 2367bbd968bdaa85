"""Sites in transition."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, ProgrammingError, connections

from migrator.databases.engines.registry import engine_for
from migrator.databases.journal.checks import holds_unfinished_run
from migrator.sessions.transition import configuration
from migrator.sessions.transition.after_commit import run_waiting
from migrator.transitions.phases import Phase
from tests.servers.databases import FreshDatabases
from tests.sessions.transition.pairs import Named, Site, site_of


class Counts(Counter[str]):
    """What a site counted, by event."""

    def count(self, event: str, number: int = 1, *, phase: Phase) -> None:
        self[event] += number


@pytest.fixture(autouse=True)
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    """Give what is counted, in place of adding it up in a shared place."""
    found = Counts()
    monkeypatch.setattr(configuration, "session_metrics", lambda: found)
    return found


@pytest.fixture
def fresh(databases: FreshDatabases) -> Callable[[Named], None]:
    """Give a function that empties a side, and makes its database where there is none."""

    def prepare(side: Named) -> None:
        alias = side.setting.get("DATABASE")
        try:
            if alias and holds_unfinished_run(engine_for(connections[alias])):  # of another test
                databases.fresh(alias)
                side.make_table()
            side.clear()
        except (OperationalError, ProgrammingError):
            if side.setting["DATABASE"] != "default":
                databases.fresh(side.setting["DATABASE"])
            side.make_table()
            side.clear()

    return prepare


@pytest.fixture
def site(request: pytest.FixtureRequest, fresh: Callable[..., None]) -> Iterator[Site]:
    """Give the site of the test's pair, in the phase `old`."""
    pair: Any = request.getfixturevalue("pair")
    with site_of(*pair, fresh=fresh) as site:
        yield site
        run_waiting()
