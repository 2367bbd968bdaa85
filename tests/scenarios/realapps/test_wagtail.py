"""Wagtail, moved around all engines with nothing of it changed, and at work after every move."""

import pytest

from tests.management.running import facts
from tests.scenarios.realapps.project import HOPS, Hop, Journeys, hop_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.sqlite,
    pytest.mark.postgresql,
    pytest.mark.mysql,
    pytest.mark.xdist_group("realapps"),  # all that the journeys found is in one process
]

# The tables behind SQLite's full-text search: a part of the index that Wagtail builds anew.
SHADOWS = [f"wagtailsearch_indexentry_fts{part}" for part in ("", "_config", "_content", "_data", "_docsize", "_idx")]


@pytest.fixture(params=HOPS, ids="-to-".join)
def pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    pair: tuple[str, str] = request.param
    return pair


@pytest.fixture
def hop(pair: tuple[str, str], journeys: Journeys) -> Hop:
    return hop_of(journeys["wagtail"].result(), pair)


def test_moves_every_value(hop: Hop, pair: tuple[str, str]) -> None:
    compared = hop.facts["compare"]

    assert compared["differences"] == []
    assert compared["tables"] >= 90
    assert compared["filled"] >= 70
    assert compared["rows"] >= 2_000
    assert compared["unknown"] == (SHADOWS if pair[0] == "sqlite" else [])


def test_says_that_all_is_well(hop: Hop) -> None:
    found = facts("\n".join(hop.said))
    assert found["row counts"] == f"match in {hop.facts['compare']['tables']} tables"
    assert found["keys"] == "sequences are ahead of the largest keys; every foreign key has a matching row"
    assert found["values"] == "not compared (--verify full compares them)"
    assert found["left out"].endswith("; the plan lists them")
    assert found["rejected"] == "0 rows"


def test_keeps_the_trees(hop: Hop) -> None:
    assert hop.facts["trees"]["said"] == [
        "Checking page tree for problems...",
        "No problems found.",
        "Checking collection tree for problems...",
        "No problems found.",
    ]


def test_shows_pages_of_every_type(hop: Hop) -> None:
    pages = hop.facts["read"]["pages"]

    assert pages >= 20
    assert hop.facts["read"] == {
        "pages": pages,
        "wrong": [],
        "redirect": 301,
        "closed page": [302, 200],
        "by the API": True,
        "document": True,
    }


def test_is_administered(hop: Hop) -> None:
    assert hop.facts["administer"] == {"login": 302, "wrong": [], "lists its entry": True, "approved": "approved"}


def test_goes_on_with_the_next_keys(hop: Hop) -> None:
    assert hop.facts["go_on"] == {"page": 200, "submissions": 1, "not the next key": []}


def test_is_searched_by_a_new_index(hop: Hop) -> None:
    assert hop.facts["search"] == {"found": ["Written after the move"], "by title": True}
