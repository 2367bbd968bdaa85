"""A site of django CMS with versions and translations, moved around all engines, and edited after every move."""

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


@pytest.fixture(params=HOPS, ids="-to-".join)
def hop(request: pytest.FixtureRequest, journeys: Journeys) -> Hop:
    return hop_of(journeys["cms"].result(), request.param)


def test_moves_every_value(hop: Hop) -> None:
    compared = hop.facts["compare"]

    assert compared["differences"] == []
    assert compared["tables"] >= 34
    assert compared["filled"] >= 31
    assert compared["rows"] >= 1_200
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


def test_keeps_the_tree(hop: Hop) -> None:
    assert hop.facts["tree"] == {"problems": [[], [], [], [], []], "depth": 3}


def test_shows_every_page_in_all_languages(hop: Hop) -> None:
    found = hop.facts["look"]

    assert found["pages"] >= 35
    assert found == {"pages": found["pages"], "wrong": [], "closed page": [302, 200], "redirects": [410, 301]}


def test_editors_stay_logged_in(hop: Hop) -> None:
    assert hop.facts["stay"] == {name: [200, name] for name in ("chief", "editor0", "editor1")}


def test_goes_on_with_the_next_keys(hop: Hop) -> None:
    assert hop.facts["go_on"] == {
        "page": 200,
        "text": True,
        "title": True,
        "versions": [["1", "unpublished"], ["2", "published"]],
        "edited": "published",
        "not the next key": [],
    }
