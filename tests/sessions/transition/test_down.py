"""One side does not answer: the shadow's silence is logged and counted, the authority's is an error."""

import logging
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.test import Client, override_settings

from migrator.sessions.transition import SessionStore
from migrator.stores.base import digest
from migrator.transitions.phases import Phase
from tests.servers.process import ask, end_with_parent, find_program, free_port
from tests.sessions.transition.pairs import POSTGRESQL, Named, Site, site_of

SERVER = find_program("redis-server", "valkey-server")
pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.skipif(SERVER is None, reason="no redis-server and no valkey-server to stop"),
]
ENGINES = "django.contrib.sessions.backends"
PRIVATE = Named("private", {"ENGINE": f"{ENGINES}.cache", "CACHE": "private"})
BEFORE_ROWS = Named("before rows", {"ENGINE": f"{ENGINES}.cached_db", "CACHE": "private", "DATABASE": "sqlite_a"})


class PrivateRedis:
    """A server of our own to stop and start; it forgets all."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [str(SERVER), *words], stdout=subprocess.DEVNULL, preexec_fn=end_with_parent(signal.SIGKILL)
        )
        for _ in range(200):
            if ask(self.port, b"PING\r\n").startswith(b"+PONG"):
                return
            time.sleep(0.05)
        pytest.fail("the private server does not answer")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


SILENT = {"OPTIONS": {"IGNORE_EXCEPTIONS": True}}
BACKENDS: dict[str, Any] = {
    "django": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:{port}/0"},
    "silent django_redis": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": "redis://127.0.0.1:{port}/0",
        **SILENT,
    },
    "silent django_valkey": {
        "BACKEND": "django_valkey.cache.ValkeyCache",
        "LOCATION": "valkey://127.0.0.1:{port}/0",
        **SILENT,
    },
}


@pytest.fixture(params=BACKENDS)
def server(request: pytest.FixtureRequest) -> Iterator[PrivateRedis]:
    server = PrivateRedis()
    server.start()
    entry = BACKENDS[request.param]
    entry = {**entry, "LOCATION": entry["LOCATION"].format(port=server.port)}
    with override_settings(CACHES={**caches.settings, "private": entry}):
        yield server
        caches.close_all()
    server.stop()


@pytest.fixture(params=[Phase.DUAL_OLD, Phase.DUAL_NEW])
def site(request: pytest.FixtureRequest, server: PrivateRedis, fresh: Callable[..., None]) -> Iterator[Site]:
    """Give a site in both dual phases whose shadow is the private server."""
    phase: Phase = request.param
    sides = (POSTGRESQL, PRIVATE) if phase is Phase.DUAL_OLD else (PRIVATE, POSTGRESQL)
    with site_of(*sides, fresh=fresh) as site:
        site.phase = phase
        yield site
        site.change.close()


def test_the_site_goes_on_without_the_shadow(
    site: Site, server: PrivateRedis, user: Any, counts: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client()
    client.get(f"/login/{user.username}")
    key = client.cookies["sessionid"].value
    server.stop()
    with caplog.at_level(logging.WARNING, logger="migrator.sessions.transition"):
        assert client.post("/put", "[1]", content_type="application/json").json()["cart"] == [1]
        other = Client()
        assert other.get(f"/login/{user.username}").json()["user"] == user.username
        assert other.get("/logout").json()["user"] == ""
        assert client.get("/who").json() == {"user": user.username, "cart": [1]}
    assert counts["shadow_error"] >= 3
    assert digest(key) in caplog.text
    assert key not in caplog.text

    server.start()
    session = SessionStore(key)
    session["cart"] = [2]
    session.save()
    assert [data["cart"] for data in site.both(key)] == [[2], [2]]


def test_an_end_that_misses_the_shadow_is_told(
    site: Site, server: PrivateRedis, user: Any, counts: Any, caplog: pytest.LogCaptureFixture
) -> None:
    key = _saved(user)
    server.stop()
    with caplog.at_level(logging.WARNING, logger="migrator.sessions.transition"):
        SessionStore(key).delete()
    assert counts["shadow_error"] == 1
    assert digest(key) in caplog.text


def test_what_the_cache_before_rows_has_missed_is_told(
    server: PrivateRedis, fresh: Callable[..., None], user: Any, counts: Any
) -> None:
    with site_of(POSTGRESQL, BEFORE_ROWS, fresh=fresh) as site:
        site.phase = Phase.DUAL_OLD
        key = _saved(user)
        server.stop()
        session = SessionStore(key)
        session["cart"] = [1]
        session.save()
        assert counts["shadow_error"] == 1
        SessionStore(key).delete()
        assert counts["shadow_error"] == 2
        site.change.close()


def test_expired_sessions_are_cleared_without_the_shadow(site: Site, server: PrivateRedis) -> None:
    server.stop()
    SessionStore.clear_expired()


def test_silence_of_the_authority_is_an_error(site: Site, server: PrivateRedis, user: Any) -> None:
    key = _saved(user)
    # The other way round, so that the server is the authority now.
    site.phase = Phase.DUAL_NEW if site.phase is Phase.DUAL_OLD else Phase.DUAL_OLD
    server.stop()
    for act in (
        SessionStore(key).load,
        SessionStore(key).delete,
        SessionStore().create,
        lambda: SessionStore(key).exists(key),
    ):
        with pytest.raises(Exception, match=r"Connection|refused|closed"):
            act()


def _saved(user: Any) -> str:
    session = SessionStore()
    session["user"] = user.username
    session.save()
    return str(session.session_key)


def test_a_session_that_only_silent_old_has_is_not_taken_for_ended(
    server: PrivateRedis, fresh: Callable[..., None], user: Any
) -> None:
    with site_of(PRIVATE, POSTGRESQL, fresh=fresh) as site:
        client = Client()
        client.get(f"/login/{user.username}")
        key = client.cookies["sessionid"].value
        site.phase = Phase.DUAL_NEW
        server.stop()
        assert client.get("/who").json()["user"] == ""
        assert client.cookies["sessionid"].value == key
        site.change.close()
