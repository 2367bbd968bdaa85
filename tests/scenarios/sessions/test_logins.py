"""A login made before a copy works after the switch, from every place to every other."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from migrator.sessions.comparison import VerifyOptions
from migrator.sessions.copying.run import copy_sessions
from migrator.sessions.verification import verify_sessions
from tests.sessions.places import PAIRS, Place, returning

pytestmark = pytest.mark.filterwarnings("ignore:.* on sharded client:UserWarning")  # its own, in set()
CART = {"cart": [{"sku": "äöü-1", "count": 2}], "note": "x" * 300}


@pytest.mark.parametrize(("source", "dest"), PAIRS)
def test_keeps_everybody_logged_in_and_writes_nothing_the_second_time(
    source: Place, dest: Place, ready: Callable[..., None], user: Any, client: Client
) -> None:
    ready(source, dest)
    with source.in_use():
        client.get(f"/login/{user.username}")
        client.post("/put", json.dumps(CART), content_type="application/json")
        anonymous = Client()
        anonymous.post("/put", json.dumps([1]), content_type="application/json")

        result = copy_sessions(source=source.end, dest=dest.end)
        second = copy_sessions(source=source.end, dest=dest.end)

    assert (result.total.read, result.total.written, result.total.problems) == (2, 2, [])
    assert (second.total.changes, second.total.present) == (0, 2)
    compared = verify_sessions(source=source.end, dest=dest.end, options=VerifyOptions(mode="full"))
    assert (compared.comparison.equal, compared.comparison.found) == (2, 0), compared.comparison
    source.clear()
    with dest.in_use():
        client, anonymous = returning(client), returning(anonymous)
        assert client.get("/who").json() == {"user": user.username, "cart": CART}
        assert anonymous.get("/who").json() == {"user": "", "cart": [1]}
        assert client.get("/logout").json()["user"] == ""
        assert client.get("/who").json()["user"] == ""
