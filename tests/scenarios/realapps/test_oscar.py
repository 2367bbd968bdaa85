"""A shop of django-oscar with the accounts of django-allauth, moved around all engines, and open after every move."""

import pytest

from tests.management.running import facts
from tests.scenarios.realapps.project import HOPS, Hop, Journeys, hop_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.sqlite,
    pytest.mark.postgresql,
    pytest.mark.mysql,
    pytest.mark.redis,
    pytest.mark.xdist_group("realapps"),  # all that the journeys found is in one process
]

PEOPLE = 11


@pytest.fixture(params=HOPS, ids="-to-".join)
def pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    pair: tuple[str, str] = request.param
    return pair


@pytest.fixture
def hop(pair: tuple[str, str], journeys: Journeys) -> Hop:
    return hop_of(journeys["oscar"].result(), pair)


def test_moves_every_value(hop: Hop) -> None:
    compared = hop.facts["compare"]

    assert compared["differences"] == []
    assert compared["tables"] >= 100
    assert compared["filled"] >= 90
    assert compared["rows"] >= 2_000
    assert compared["unknown"] == []


def test_the_commands_report_no_difference(hop: Hop) -> None:
    compared = hop.facts["compare"]
    proofs = {
        "row counts": f"match in {compared['tables']} tables",
        "values": f"equal: compared all {compared['rows']:,} rows of {compared['tables']} tables",
        "keys": "sequences are ahead of the largest keys; every foreign key has a matching row",
    }
    assert proofs.items() <= facts("\n".join(hop.said)).items()
    assert facts("\n".join(hop.said))["rejected"] == "0 rows"
    assert proofs.items() <= facts("\n".join(hop.facts["verify"])).items()


def test_shows_every_product_and_the_dashboard(hop: Hop) -> None:
    assert hop.facts["look"]["wrong"] == []
    assert hop.facts["look"]["pages"] >= 50


def test_people_stay_logged_in_with_their_baskets(hop: Hop) -> None:
    assert hop.facts["stay"] == {"people": PEOPLE, "wrong": []}


def test_people_log_in_by_all_their_factors(hop: Hop) -> None:
    assert hop.facts["log_in"] == {
        "who": [
            "customer4@example.com",
            "customer0@example.com",
            "customer1@example.com",
            "elsewhere1@example.com",
        ],
        "recovery codes used": 1,
        "new accounts": 0,
    }


def test_goes_on_with_the_next_keys(hop: Hop) -> None:
    assert hop.facts["go_on"] == {"quantity": 2, "options": True, "order": True, "child": True, "not the next key": []}


def test_people_stay_logged_in_when_sessions_move_to_redis(hop: Hop) -> None:
    found = hop.facts["move_sessions"]

    assert (found["people"], found["wrong"]) == (PEOPLE, [])


def test_the_materialized_view_is_noted_where_it_is(hop: Hop, pair: tuple[str, str]) -> None:
    refresh = "REFRESH MATERIALIZED VIEW catalogue_product_category_hierarchy"
    found = hop.facts["materialized_view"]

    if pair[1] == "postgresql":
        assert refresh in "\n".join(hop.said)
        assert found["products"] >= 30
    else:
        assert refresh not in "\n".join(hop.said)
        assert found == {}
