"""People at a site whose session stores change under them: nobody is logged out, on the way forth and back."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client

from migrator.sessions.comparison import VerifyOptions
from migrator.sessions.copying.run import copy_sessions
from migrator.sessions.records import CopyOptions
from migrator.sessions.transition.sides import TransitionSide
from migrator.sessions.verification import verify_sessions
from migrator.transitions.phases import Phase
from tests.sessions.transition.pairs import (
    CACHED_MYSQL,
    CACHED_SQLITE,
    CACHED_SQLITE_B,
    FILES,
    MEMCACHED,
    MYSQL,
    POSTGRESQL,
    POSTGRESQL_B,
    QSESSIONS,
    REDIS,
    SQLITE,
    USER_SESSIONS,
    Named,
    Site,
    param,
    site_of,
)

PAIRS = [
    param(REDIS, POSTGRESQL),
    param(POSTGRESQL, REDIS),
    param(POSTGRESQL, POSTGRESQL_B),
    param(REDIS, CACHED_SQLITE),
    param(CACHED_MYSQL, REDIS),
    param(CACHED_SQLITE, CACHED_SQLITE_B),
    param(MYSQL, MEMCACHED),
    param(FILES, SQLITE),
    param(USER_SESSIONS, REDIS),
    param(QSESSIONS, REDIS),
]


@pytest.fixture
def site(pair: tuple[Named, Named], fresh: Callable[..., None]) -> Iterator[Site]:
    with site_of(*pair, fresh=fresh) as site:
        yield site


def put(client: Client, cart: Any) -> None:
    assert client.post("/put", json.dumps(cart), content_type="application/json").status_code == 200


def copy(source: TransitionSide, dest: TransitionSide) -> None:
    """Copy as the recipe says, and verify."""
    ends = {"source": source.end, "dest": dest.end}
    copy_sessions(**ends, options=CopyOptions(overwrite_older=True))
    compared = verify_sessions(**ends, options=VerifyOptions(mode="full"))
    assert compared.comparison.found == 0, compared.comparison


@pytest.mark.parametrize("pair", PAIRS)
def test_nobody_is_logged_out_forth_and_back(site: Site, user: Any, client: Client) -> None:
    early = Client()
    early.get(f"/login/{user.username}")
    client.get(f"/login/{user.username}")
    newcomers = []
    for phase in [Phase.OLD, Phase.DUAL_OLD, Phase.DUAL_NEW, Phase.NEW, Phase.DUAL_NEW, Phase.DUAL_OLD, Phase.OLD]:
        is_way_back = site.phase is Phase.NEW or (site.phase is Phase.DUAL_NEW and phase is Phase.DUAL_OLD)
        site.phase = phase
        assert client.get("/who").json()["user"] == user.username, phase
        put(client, [str(phase)])
        assert client.get("/who").json()["cart"] == [str(phase)]
        newcomers.append(Client())
        newcomers[-1].get(f"/login/{user.username}")
        put(newcomers[-1], ["new"])
        for newcomer in [*newcomers, early]:
            assert newcomer.get("/who").json()["user"] == user.username, phase
        if phase is Phase.DUAL_OLD and not is_way_back:
            copy(site.change.old, site.change.new)
        if phase is Phase.DUAL_NEW and is_way_back:
            copy(site.change.new, site.change.old)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("phase", list(Phase))
def test_who_logs_out_stays_out_in_every_phase(site: Site, user: Any, client: Client, phase: Phase) -> None:
    site.phase = Phase.DUAL_OLD
    client.get(f"/login/{user.username}")
    cookies = client.cookies.copy()
    site.phase = phase
    assert client.get("/logout").json()["user"] == ""
    for later in Phase:
        site.phase = later
        thief = Client()
        thief.cookies = cookies.copy()
        assert thief.get("/who").json()["user"] == "", later


@pytest.mark.parametrize("pair", [param(POSTGRESQL, REDIS), param(CACHED_SQLITE, CACHED_SQLITE_B)])
def test_a_session_that_nobody_copied_is_moved_when_it_is_seen(
    site: Site, user: Any, client: Client, counts: Any
) -> None:
    client.get(f"/login/{user.username}")
    site.phase = Phase.DUAL_NEW
    assert client.get("/who").json()["user"] == user.username
    assert (counts["fallback"], counts["promoted"]) == (1, 1)
    site.phase = Phase.NEW
    assert client.get("/who").json()["user"] == user.username


@pytest.mark.parametrize("pair", [param(POSTGRESQL, REDIS)])
def test_the_phase_may_change_between_load_and_save(site: Site, user: Any, client: Client) -> None:
    client.get(f"/login/{user.username}")
    session = site.session(client.cookies["sessionid"].value, Phase.DUAL_OLD)
    session["cart"] = ["kept"]
    site.phase = Phase.DUAL_NEW
    session.save()
    assert client.get("/who").json() == {"user": user.username, "cart": ["kept"]}
    assert site.both(session.session_key)[0]["cart"] == ["kept"]


@pytest.mark.parametrize("pair", [param(REDIS, POSTGRESQL)])
@pytest.mark.parametrize("phase", [Phase.DUAL_OLD, Phase.DUAL_NEW])
def test_an_asynchronous_client_is_served_alike(site: Site, user: Any, phase: Phase) -> None:
    site.phase = phase
    client = AsyncClient()

    async def visit() -> Any:
        await client.get(f"/login/{user.username}")
        return (await client.get("/who")).json()

    assert async_to_sync(visit)()["user"] == user.username


@pytest.mark.parametrize("pair", [param(POSTGRESQL, REDIS)])
def test_a_cookie_that_nobody_gave_out_makes_no_session(site: Site, client: Client) -> None:
    for phase in Phase:
        site.phase = phase
        client.cookies["sessionid"] = "a" * 32
        put(client, [1])
        assert client.cookies["sessionid"].value != "a" * 32
        assert site.both("a" * 32) == (None, None)
