"""Servers that let their users do only a part, or hold only a part: refused before the first write, with a way out."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from migrator.stores import open_store
from migrator.stores.redis.store import RedisStore
from tests.management.running import run
from tests.scenarios.faults.oracle import assert_ended
from tests.servers.process import ask, free_port
from tests.sessions.places import CACHE, ROWS, Place, data_of, put
from tests.stores.redis.expiries import notes_on_age
from tests.stores.redis.private_redis import join_slots, needs_server, private_redis, wait_for

pytestmark = [pytest.mark.redis, needs_server]
REDIS = "django.core.cache.backends.redis.RedisCache"
OTHER = Place("cache", "redis_other", "cache")


@contextmanager
def alias(entry: dict[str, Any], name: str = "private") -> Iterator[None]:
    with override_settings(CACHES={**caches.settings, name: entry}):
        yield
        for opened in caches.all(initialized_only=True):
            opened.close()


@pytest.fixture
def users(tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    """Give the alias `private` of a server as one of its users."""
    with private_redis(tmp_path) as port:
        for name, rights in (
            ("keys", "~shop:* +@all"),
            ("narrow", "~shop:1:django.contrib.sessions* +@all"),
            ("plain", "~shop:* +@read +@write +@connection"),
            ("reader", "~shop:* +@read +@connection +eval"),
            ("unlisted", "~shop:* +@all -scan"),
            ("silent", "~shop:* +@all -info"),
            ("timeless", "~shop:* +@all -time"),
            ("stranger", "~other:* +@all"),
        ):
            assert ask(port, f"ACL SETUSER {name} on >{name} {rights}\r\n".encode()).startswith(b"+OK")

        def as_user(name: str) -> Any:
            place = f"redis://{name}:{name}@127.0.0.1:{port}/0"
            return alias({"BACKEND": REDIS, "LOCATION": place, "KEY_PREFIX": "shop"})

        yield as_user


def copied(source: str, dest: str, *more: str | Path) -> Any:
    kind = "copy_cache" if "cache" in more else "copy_sessions_cache_to_cache"
    return run(kind, "--source", source, "--dest", dest, "--no-input", *[word for word in more if word != "cache"])


@pytest.mark.parametrize("name", ["keys", "narrow"])
def test_a_user_with_rights_on_its_own_keys_alone_is_enough(name: str, users: Any, ready: Callable[..., None]) -> None:
    ready(CACHE, OTHER)
    key = put(CACHE, {"a": 1})
    with users(name):
        assert_ended(copied("redis", "private"), 0)
        assert_ended(copied("private", "redis_other"), 0)
        match = ("--match", "django.contrib.sessions") if name == "narrow" else ()
        assert_ended(copied("redis", "private", "cache", *match), 0)
        assert_ended(run("verify_sessions", "--source", "cache:redis", "--dest", "cache:private", "--mode", "full"), 0)
    assert data_of(OTHER) == {key: {"a": 1}}


# What each user may not run, by whether the server is as new as Redis 7.
DENIED = {
    "plain": {True: "EVAL", False: "EVAL"},
    "reader": {True: "SET and DEL", False: "SET, DEL and PEXPIREAT"},
    "stranger": {True: "GET, PEXPIRETIME and EXISTS", False: "GET, PTTL and EXISTS"},
}


@pytest.mark.parametrize("name", DENIED)
@pytest.mark.parametrize("kind", ["sessions", "cache"])
def test_each_missing_right_is_named_before_anything_is_written(
    name: str, kind: str, users: Any, ready: Callable[..., None]
) -> None:
    ready(CACHE)
    put(CACHE, {"a": 1})
    denied = DENIED[name][not notes_on_age("redis")]
    with users(name):
        finished = copied("redis", "private", kind) if kind == "cache" else copied("redis", "private")
    verbs = " ".join(f"+{verb.lower()}" for verb in denied.replace(" and", "").replace(",", "").split())
    assert_ended(finished, 1, f"its user may not run {denied} on keys such as shop:1:")
    assert f"ACL SETUSER {name} {verbs} '~shop:1:" in finished.err
    assert finished.out == ""


def test_before_redis_7_a_source_has_to_report_its_time(
    users: Any, ready: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the clock of this host, an expiry could become later."""
    ready(OTHER)
    monkeypatch.setattr(RedisStore, "_server_info", lambda store: {"redis_version": "6.0.16"})
    with users("timeless"):
        assert_ended(copied("private", "redis_other"), 1, "may not run TIME", "ACL SETUSER timeless +time '~shop:1:")


def test_expiries_are_exact_for_a_user_that_may_not_ask_for_the_version(users: Any, ready: Callable[..., None]) -> None:
    ready(CACHE, OTHER)
    key = put(CACHE, {"a": 1})
    with users("silent"):
        assert open_store(alias="private").expiry_slack == open_store(alias="redis").expiry_slack
        assert_ended(copied("redis", "private"), 0)
        assert_ended(copied("private", "redis_other"), 0)
    assert data_of(OTHER) == {key: {"a": 1}}


def test_a_user_that_may_not_list_keys_copies_those_that_are_given(
    users: Any, ready: Callable[..., None], tmp_path: Path
) -> None:
    ready(CACHE, OTHER)
    key = put(CACHE, {"a": 1})
    (tmp_path / "keys").write_text(f"{key}\n")
    with users("unlisted"):
        assert_ended(copied("redis", "private"), 0)
        finished = copied("private", "redis_other")
        assert_ended(
            finished, 1, "its user may not run SCAN (ACL SETUSER unlisted +scan grants it)", "--keys-from FILE"
        )
        assert_ended(copied("private", "redis_other", "cache"), 1, "its user may not run SCAN", "--keys-from FILE")
        assert_ended(copied("private", "redis_other", "--keys-from", tmp_path / "keys"), 0)
    assert data_of(OTHER) == {key: {"a": 1}}


def test_one_node_of_a_cluster_is_not_taken_for_all_of_it(ready: Callable[..., None], tmp_path: Path) -> None:
    ready(CACHE, ROWS)
    sessions = {put(CACHE, {"n": n}): {"n": n} for n in range(12)}
    with ExitStack() as stack:
        words = ("--cluster-enabled", "yes")
        ports = [stack.enter_context(private_redis(_made(tmp_path / str(n)), *words)) for n in range(2)]
        join_slots(ports[0], 0, 8000)
        join_slots(ports[1], 8001)
        ask(ports[0], f"CLUSTER MEET 127.0.0.1 {ports[1]}\r\n".encode())
        for port in ports:
            wait_for(port, b"CLUSTER INFO\r\n", b"cluster_state:ok")
        whole = "django_valkey.cluster_cache.cache.ClusterValkeyCache"
        with (
            alias({"BACKEND": whole, "LOCATION": f"valkey://127.0.0.1:{ports[0]}/0"}, "cluster"),
            alias({"BACKEND": REDIS, "LOCATION": f"redis://127.0.0.1:{ports[1]}/0"}),
        ):
            assert_ended(copied("redis", "cluster"), 0)
            for refused in (
                copied("private", "redis_other"),
                copied("redis", "private"),
                copied("private", "redis_other", "cache"),
                copied("redis", "private", "cache"),
                run("copy_sessions_cache_to_db", "--source", "private", "--dest", "sqlite_a", "--no-input"),
                run("verify_sessions", "--source", "cache:private", "--dest", "cache:redis"),
            ):
                assert_ended(
                    refused, 1, "it is one node of a Redis Cluster", "ClusterValkeyCache", "Nothing was written."
                )
            assert_ended(run("copy_sessions_cache_to_db", "--source", "cluster", "--dest", "sqlite_a", "--no-input"), 0)
            caches["cluster"].client._get_client(write=True).close()  # type: ignore[attr-defined]
    assert data_of(ROWS) == sessions


def test_a_node_that_serves_a_whole_cluster_is_a_server_like_any_other(
    ready: Callable[..., None], tmp_path: Path
) -> None:
    ready(CACHE, ROWS)
    key = put(CACHE, {"a": 1})
    with private_redis(tmp_path, "--cluster-enabled", "yes") as port:
        join_slots(port)
        wait_for(port, b"CLUSTER INFO\r\n", b"cluster_state:ok")
        with alias({"BACKEND": REDIS, "LOCATION": f"redis://127.0.0.1:{port}/0"}):
            assert_ended(copied("redis", "private"), 0)
            words = ("copy_sessions_cache_to_db", "--source", "private", "--dest", "sqlite_a", "--no-input")
            assert_ended(run(*words), 0)
    assert data_of(ROWS) == {key: {"a": 1}}


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def test_an_error_of_tls_says_what_it_is(ready: Callable[..., None], tmp_path: Path) -> None:
    ready(CACHE)
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ("-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost")
    subprocess.run(["openssl", "req", "-x509", *made], check=True, capture_output=True)  # noqa: S607
    tls = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no")
    port = free_port()
    with (
        private_redis(tmp_path, "--tls-port", str(port), *tls),
        alias({"BACKEND": REDIS, "LOCATION": f"rediss://localhost:{port}/0"}),
    ):
        wanted = ("does not answer (ConnectionError: ", "CERTIFICATE_VERIFY_FAILED", "ssl_ca_certs")
        assert_ended(copied("private", "redis"), 1, *wanted)
    known = {"ssl_ca_certs": str(certificate)}
    with (
        private_redis(tmp_path, "--tls-port", str(port), *tls),
        alias({"BACKEND": REDIS, "LOCATION": f"rediss://127.0.0.1:{port}/0", "OPTIONS": known}),
    ):
        wanted = ("CERTIFICATE_VERIFY_FAILED", "that the server's certificate is valid for")
        assert_ended(copied("private", "redis"), 1, *wanted)


@pytest.mark.parametrize(
    ("setting", "said"), [(("min-replicas-to-write", "1"), "NOREPLICAS"), (("maxmemory", "1kb"), "maxmemory")]
)
def test_a_server_that_takes_no_writes_is_refused_before_the_first(
    setting: tuple[str, str], said: str, ready: Callable[..., None], tmp_path: Path
) -> None:
    ready(CACHE)
    put(CACHE, {"a": 1})
    name, value = setting
    with (
        private_redis(tmp_path, f"--{name}", value) as port,
        alias({"BACKEND": REDIS, "LOCATION": f"redis://127.0.0.1:{port}/0"}),
    ):
        for more in ((), ("cache",)):
            assert_ended(copied("redis", "private", *more), 1, "Nothing can be written", "accepts no writes", said)


@pytest.mark.parametrize(
    "entry",
    [
        {"LOCATION": "redis://:can/ary@127.0.0.1/0"},
        {"LOCATION": "127.0.0.1:6379"},
        {"LOCATION": "redis://127.0.0.1/0", "OPTIONS": {"nonsense": 1}},
        {"LOCATION": "redis://127.0.0.1/0", "OPTIONS": {"serializer": "no.such.thing"}},
    ],
)
def test_a_cache_that_cannot_be_opened_is_one_line_without_a_password(
    entry: dict[str, Any], ready: Callable[..., None]
) -> None:
    ready(CACHE)
    with alias({"BACKEND": REDIS, **entry}):
        for finished in (copied("redis", "private"), copied("private", "redis", "cache")):
            assert_ended(finished, 1, "The cache 'private' cannot be opened", "Check its LOCATION and its OPTIONS")
            assert "ary" not in finished.out + finished.err
