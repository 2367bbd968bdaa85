"""Sessions that vanish, twins of a scan, servers that fail, pickles that attack: nobody is logged out or let in."""

from __future__ import annotations

import builtins
import json
import os
import pickle
import random
import socketserver
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.core.cache import caches
from django.db import connections
from django.test import override_settings

from migrator.clock import now
from migrator.stores.base import digest
from migrator.stores.redis.store import RedisStore
from tests.manage import run_manage, start_manage
from tests.management.running import run
from tests.scenarios.faults.amounts import KILLS
from tests.scenarios.faults.oracle import assert_ended
from tests.sessions.copying.test_reading import Explosive
from tests.sessions.places import CACHE, HOUR, ROWS, Place, data_of, held, new_key, put
from tests.stores.redis.private_redis import needs_server, private_redis

pytestmark = pytest.mark.redis
ENVIRONMENT = {"DJANGO_SETTINGS_MODULE": "tests.sessions.settings"}
TO_ROWS = ("copy_sessions_cache_to_db", "--source", "redis", "--dest", "sqlite_a", "--no-input")
TO_CACHE = ("copy_sessions_db_to_cache", "--source", "sqlite_a", "--dest", "redis", "--no-input")
VERIFY = ("verify_sessions", "--source", "cache:redis", "--dest", "db:sqlite_a")
OTHER = Place("cache", "client", "cache")


def redis_key(key: str) -> str:
    return f"django.contrib.sessions.cache{key}"


def listing(monkeypatch: pytest.MonkeyPatch, change: Callable[[list[str]], list[str]]) -> None:
    """Let something happen between the listing of keys and the reading of what they hold."""
    keys = RedisStore.keys

    def changed(self: Any, *args: Any) -> Iterator[list[str]]:
        for page in keys(self, *args):
            yield change(page)

    monkeypatch.setattr(RedisStore, "keys", changed)


def test_a_session_that_ends_while_it_is_read_is_no_error(
    ready: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(CACHE, ROWS)
    keys = {put(CACHE, {"n": n}) for n in range(5)}
    ended = min(keys)

    def end(page: list[str]) -> list[str]:
        caches["redis"].delete(redis_key(ended))
        return page

    listing(monkeypatch, end)
    assert_ended(run(*TO_ROWS), 0)
    assert set(held(ROWS)) == keys - {ended}


def test_a_session_that_is_listed_twice_is_copied_once(
    ready: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(CACHE, ROWS)
    keys = {put(CACHE, {"n": n}) for n in range(5)}
    listing(monkeypatch, lambda page: [*page, *page])
    finished = run(*TO_ROWS, "--format", "json")
    assert_ended(finished, 0)
    assert json.loads(finished.out)["total"]["written"] == 5
    assert set(held(ROWS)) == keys


@needs_server
def test_a_server_that_is_down_half_way_stops_the_copy_and_the_next_one_completes_it(
    ready: Callable[..., None], tmp_path: Path
) -> None:
    ready(ROWS)
    keys = {put(ROWS, {"n": n}) for n in range(60)}
    words = (*TO_CACHE, "--chunk-size", "5")
    with private_redis(tmp_path) as port:
        environment = {**ENVIRONMENT, "MIGRATOR_TEST_REDIS": f"redis://127.0.0.1:{port}"}
        process = start_manage(*words, "--rate", "30", env=environment)
        there = Place("cache", "private", "cache")
        entry = {**caches.settings["redis"], "LOCATION": f"redis://127.0.0.1:{port}/3"}
        with override_settings(CACHES={**caches.settings, "private": entry}):
            wait_until(lambda: bool(held(there)))
    with process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "Traceback" not in out + err
    assert "CommandError: A server stopped the work (ConnectionError: " in err
    assert "run the same command again" in err
    ready(CACHE)
    assert_ended(run(*words), 0)
    assert set(held(CACHE)) == keys


@needs_server
@pytest.mark.parametrize("policy", ["noeviction", "allkeys-random"])
def test_a_server_without_room_is_told_of(policy: str, ready: Callable[..., None], tmp_path: Path) -> None:
    ready(CACHE)
    for number in range(40):
        put(CACHE, {"number": number, "text": "x" * 100_000})
    with private_redis(tmp_path, "--maxmemory", "3mb", "--maxmemory-policy", policy) as port:
        entry = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": f"redis://127.0.0.1:{port}/0"}
        with override_settings(CACHES={**caches.settings, "small": entry}):
            ends = ("--source", "redis", "--dest", "small")
            finished = run("copy_sessions_cache_to_cache", *ends, "--no-input")
            missing = run("verify_sessions", "--source", "cache:redis", "--dest", "cache:small", "--format", "json")
            caches["small"]._cache.get_client(None, write=True).connection_pool.disconnect()  # type: ignore[attr-defined]
    assert "Traceback" not in finished.out + finished.err
    assert finished.code == {"noeviction": 1, "allkeys-random": 4}[policy], finished.err
    if policy == "allkeys-random":
        assert "keys during the copy because its memory was full" in finished.out + finished.err
    assert missing.code == 3
    assert json.loads(missing.out)["counts"]["missing"] > 0


def test_a_pickle_that_would_run_code_is_not_run(ready: Callable[..., None], tmp_path: Path) -> None:
    ready(CACHE, ROWS)
    good, bad, report = put(CACHE, {"good": True}), new_key(), tmp_path / "report.json"
    client: Any = caches["redis"]._cache.get_client(None, write=True)  # type: ignore[attr-defined]
    client.set(f":1:{redis_key(bad)}", pickle.dumps({"a": Explosive()}), ex=600)
    finished = run(*TO_ROWS, "--format", "json", "--report", str(report))
    assert_ended(finished, 4)
    assert json.loads(finished.out)["problems"] == [{"digest": digest(bad), "what": "its pickle needs builtins.exec"}]
    assert not hasattr(builtins, "migrator_test_exploded")
    assert set(held(ROWS)) == {good}
    output = finished.out + finished.err + report.read_text()
    assert good not in output
    assert bad not in output


def test_a_value_that_costs_more_than_its_length_keeps_no_other_back(ready: Callable[..., None]) -> None:
    """Fifty bytes that ask for a number of a hundred million digits, a memo of gigabytes, a text of 100 MiB packed."""
    packed = Place("cache", "client_zlib", "cache")
    ready(CACHE, packed, ROWS)
    good = {put(CACHE, {"good": n}) for n in range(5)}
    client: Any = caches["redis"]._cache.get_client(None, write=True)  # type: ignore[attr-defined]
    number = b"\x80\x04\x8c\x09fractions\x8c\x08Fraction\x93\x8c\x0b1e100000000\x85R."
    deep = b"\x80\x04})" + b"\x85" * 300_000 + b"Ns."  # a tuple in a tuple ..., hashed without a limit to the levels
    for value in (number, deep, b"\x80\x04Nr\xff\xff\xff\xff."):
        client.set(f":1:{redis_key(new_key())}", value, ex=600)
    finished = run(*TO_ROWS, "--format", "json")
    assert_ended(finished, 4)
    assert {problem["what"].split(" ", 2)[0] for problem in json.loads(finished.out)["problems"]} == {"its"}
    good |= {put(packed, {"good": n}) for n in range(5)}
    zeros = zlib.compress(pickle.dumps({"zeros": "0" * 100 * 1024**2}))
    caches["client_zlib"].client.get_client().set(f":1:{redis_key(new_key())}", zeros, ex=600)  # type: ignore[attr-defined]
    finished = run(*TO_ROWS[:2], "client_zlib", *TO_ROWS[3:], "--format", "json")
    assert_ended(finished, 4)
    assert [problem["what"] for problem in json.loads(finished.out)["problems"]] == [
        "it would decompress into more than 64 MiB"
    ]
    assert set(held(ROWS)) == good


@contextmanager
def impostor(answers: dict[bytes, bytes]) -> Iterator[int]:
    """Listen like a Redis that answers some commands otherwise; give the port."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline():
                words = []
                for _ in range(int(line[1:])):
                    words.append(self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2])
                self.wfile.write(answers.get(words[0].upper(), b"+OK\r\n"))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


@pytest.mark.parametrize(
    "scan",
    [
        b"$-1\r\n",
        b"*2\r\n:0\r\n*0\r\n",
        b"$99999999999\r\nx",
        b"*1\r\n" * 200_000,
        b"HTTP/1.1 400\r\n\r\n",
        b"*2\r\n$1\r\n5\r\n*0\r\n",
        b"*2\r\n$2\r\n-1\r\n*0\r\n",
    ],
    ids=["nothing", "number", "huge", "nested", "http", "endless", "cursor"],
)
def test_a_server_that_does_not_answer_as_redis_does_stops_the_copy(scan: bytes, ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    put(ROWS, {"kept": True})
    info = b"redis_version:7.0.0\r\nrole:master\r\n"
    with impostor({b"INFO": b"$%d\r\n%b\r\n" % (len(info), info), b"SCAN": scan}) as port:
        entry = {**caches.settings["redis"], "LOCATION": f"redis://127.0.0.1:{port}"}
        with override_settings(CACHES={**caches.settings, "odd": entry}):
            finished = run(*TO_ROWS[:2], "odd", *TO_ROWS[3:])
    assert_ended(finished, 1, "A server stopped the work (InvalidResponse: this server does not answer like Redis")
    assert len(held(ROWS)) == 1


def odd(port: int) -> override_settings:
    """Give a cache of the server at this port, with a user and a password."""
    entry = {**caches.settings["redis"], "LOCATION": f"redis://shop:s3cret%21@127.0.0.1:{port}"}
    return override_settings(CACHES={**caches.settings, "odd": entry})


@pytest.mark.parametrize("expiry", [b"+soon\r\n", b"$-1\r\n", b"$2\r\n50\r\n", b":-5\r\n", b"*0\r\n"], ids=repr)
def test_an_answer_that_is_not_an_expiry_is_not_taken_for_none(expiry: bytes, ready: Callable[..., None]) -> None:
    """The session would live for as long as a cookie."""
    ready(CACHE, ROWS)
    key, value = f":1:{redis_key('a' * 32)}".encode(), pickle.dumps({"a": 1})
    answers = {
        b"INFO": b"$20\r\nredis_version:7.0.0\n\r\n",
        b"SCAN": b"*2\r\n$1\r\n0\r\n*1\r\n$%d\r\n%b\r\n" % (len(key), key),
        b"GET": b"$%d\r\n%b\r\n" % (len(value), value),
        b"EXISTS": b":1\r\n",
        b"PEXPIRETIME": expiry,
    }
    with impostor(answers) as port, odd(port):
        finished = run(*TO_ROWS[:2], "odd", *TO_ROWS[3:])
    assert_ended(finished, 1, "this server does not answer like Redis")
    assert held(ROWS) == {}


@pytest.mark.parametrize(
    "handshake", [b"-ERR unknown command `HELLO`, with args: `3` `AUTH` `shop` `s3cret!`\r\n", b":5\r\n"]
)
def test_a_server_that_quotes_the_password_is_quoted_without_it(handshake: bytes, ready: Callable[..., None]) -> None:
    """As a Redis older than 6 answers newer clients; and a handshake that the client cannot read ends in one line."""
    ready(CACHE, ROWS)
    with impostor({b"HELLO": handshake, b"AUTH": b"-ERR I do not take s3cret!\r\n"}) as port, odd(port):
        finished = run(*TO_ROWS[:2], "odd", *TO_ROWS[3:])
    assert_ended(finished, 1)
    assert "s3cret" not in finished.out + finished.err
    assert "***" in finished.err or "does not answer like Redis" in finished.err


def test_a_pickle_that_would_run_code_is_moved_between_caches_unread(ready: Callable[..., None]) -> None:
    ready(CACHE, OTHER)
    client: Any = caches["redis"]._cache.get_client(None, write=True)  # type: ignore[attr-defined]
    client.set(":1:thing", (given := pickle.dumps({"a": Explosive()})), ex=600)
    assert_ended(run("copy_cache", "--source", "redis", "--dest", "client", "--no-input"), 0)
    assert not hasattr(builtins, "migrator_test_exploded")
    assert caches["client"].client.get_client().get(":1:thing") == given  # type: ignore[attr-defined]


@pytest.mark.postgresql
def test_a_session_that_the_table_refuses_keeps_no_other_back(ready: Callable[..., None]) -> None:
    rows = Place("db", "postgresql_a", "db")
    ready(CACHE, rows)
    keys = {put(CACHE, {"n": n}) for n in range(5)}
    refused, longer = put(CACHE, {"canary": 1}), put(CACHE, {"canary": 2}, key="a" * 41)
    with connections["postgresql_a"].cursor() as cursor:
        cursor.execute(f"ALTER TABLE django_session ADD CONSTRAINT odd CHECK (session_key <> '{refused}')")
    words = ("copy_sessions_cache_to_db", "--source", "redis", "--dest", "postgresql_a", "--no-input")
    for times in range(2):
        finished = run(*words, "--key-regex", "[a-z0-9]{32,64}", "--format", "json")
        assert_ended(finished, 4)
        found = json.loads(finished.out)
        assert (found["total"]["written"], found["total"]["unfit"]) == (0 if times else 5, 2)
        assert sorted(map(tuple, (problem.values() for problem in found["problems"]))) == sorted(
            [
                (digest(refused), "the table rejects its row (IntegrityError)"),
                (digest(longer), "its key is longer than the table allows (40 characters)"),
            ]
        )
        assert not any(secret in finished.out + finished.err for secret in (refused, longer, "canary"))
    assert set(held(rows)) == keys


@pytest.mark.mysql
@pytest.mark.parametrize("chunk_size", ["1", "2000"])
def test_keys_that_a_collation_holds_equal_are_two_sessions(chunk_size: str, ready: Callable[..., None]) -> None:
    rows = Place("db", "mysql_a", "db")
    ready(CACHE, rows)
    with connections["mysql_a"].cursor() as cursor:
        cursor.execute("ALTER TABLE django_session CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
    twins = {put(CACHE, {"n": n}, key=key) for n, key in enumerate(["A" * 32, "a" * 32, "aB" * 16])}
    words = ("--dest", "mysql_a", "--key-regex", "[A-Za-z]{32}", "--chunk-size", chunk_size, "--no-input")
    for _ in range(2):
        finished = run("copy_sessions_cache_to_db", "--source", "redis", *words)
        assert_ended(finished, 4, "1 session could not be copied")
        (refused,) = twins - set(held(rows))
        assert f"{digest(refused)}  the table rejects its row (IntegrityError)" in finished.out


def test_sessions_end_when_they_would_have_ended(ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS, OTHER)
    lasting = put(CACHE, {"a": 1}, expires=(expires := now() + HOUR))
    put(ROWS, {"b": 1}, expires=now() + 200_000)
    time.sleep(0.3)
    assert_ended(run(*TO_ROWS), 0)
    assert_ended(run("copy_sessions_db_to_cache", "--source", "sqlite_a", "--dest", "client", "--no-input"), 0)
    found = held(OTHER)
    assert set(found) == {lasting}
    assert found[lasting].expires is not None
    assert 0 <= expires - found[lasting].expires < 1_000_000
    assert_ended(run(*VERIFY), 0)


def test_sessions_of_another_secret_key_are_not_copied(user: Any, ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    for _ in range(3):
        put(CACHE, {SESSION_KEY: str(user.pk), HASH_SESSION_KEY: user.get_session_auth_hash()})
    with override_settings(SECRET_KEY="the key of another project"):
        assert_ended(run(*TO_ROWS), 1, "everyone would be logged out.")
    assert held(ROWS) == {}
    put(ROWS, {"a": 1})
    CACHE.clear()
    with override_settings(SECRET_KEY="the key of another project"):
        assert_ended(run(*TO_CACHE), 1, "its signature matches no secret key", "SECRET_KEY_FALLBACKS")
    assert held(CACHE) == {}


@pytest.mark.memcached
def test_a_cache_that_lists_no_keys_is_only_a_source_of_given_ones(ready: Callable[..., None], tmp_path: Path) -> None:
    place = Place("cache", "files", "cache")
    ready(place, ROWS, CACHE)
    key = put(place, {"in": "files"})
    words = ("copy_sessions_cache_to_db", "--source", "files", "--dest", "sqlite_a", "--no-input")
    assert_ended(run(*words), 1, "cannot be listed", "--keys-from FILE")
    (tmp_path / "keys").write_text(f"{key}\n")
    assert_ended(run(*words, "--keys-from", str(tmp_path / "keys")), 0)
    assert data_of(ROWS) == {key: {"in": "files"}}
    assert_ended(run("copy_sessions_db_to_cache", "--source", "sqlite_a", "--dest", "memcached", "--no-input"), 0)
    assert caches["memcached"].get(redis_key(key)) == {"in": "files"}


def test_random_kills_lose_no_session(
    ready: Callable[..., None], record_property: Callable[[str, object], None]
) -> None:
    """A copy that was killed is run again as it was called, until it gets through."""
    seed = int(os.environ.get("MIGRATOR_TEST_SEED", random.randrange(10**6)))  # noqa: S311
    chosen, kills = random.Random(seed), 0  # noqa: S311
    ready(CACHE, ROWS)
    keys = {put(CACHE, {"n": n}): n for n in range(200)}
    while kills < KILLS:
        ROWS.clear()
        for _ in range(3):
            with start_manage(*TO_ROWS, "--chunk-size", "5", "--rate", "250", env=ENVIRONMENT) as process:
                wait_until(lambda: bool(held(ROWS)))
                time.sleep(chosen.uniform(0, 0.6))
                kills += process.poll() is None
                process.kill()
                process.communicate()
        finished = run_manage(*TO_ROWS, env=ENVIRONMENT)
        assert finished.code == 0, f"seed {seed}: {finished.err}"
        found = data_of(ROWS)
        lost = keys.keys() - found.keys()
        assert (len(lost), found) == (0, {key: {"n": n} for key, n in keys.items()}), f"seed {seed}"
    record_property("kills survived", kills)
    record_property("sessions lost", len(lost))


def wait_until(happened: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.mark.postgresql
@pytest.mark.mysql
@pytest.mark.memcached
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati"])
@pytest.mark.parametrize("moment", [10**15, 2**62], ids=["a year of five digits", "of nine digits"])
def test_an_expiry_that_no_table_holds_keeps_no_session_back(
    zone: str, moment: int, ready: Callable[..., None]
) -> None:
    aliases = ["sqlite_a", "postgresql_a", "mysql_a"]
    ready(CACHE, *(Place("db", alias, "db") for alias in aliases))
    keys = {put(CACHE, {"n": n}) for n in range(3)}
    endless = new_key()
    client: Any = caches["redis"]._cache.get_client(None, write=True)  # type: ignore[attr-defined]
    client.set(f":1:{redis_key(endless)}", pickle.dumps({"n": 3}))
    client.pexpireat(f":1:{redis_key(endless)}", moment)
    with override_settings(TIME_ZONE=zone, USE_TZ=zone == "UTC"):
        for alias in aliases:
            words = (*TO_ROWS[:4], alias, "--no-input")
            for _ in range(2):
                finished = run(*words)
                assert_ended(finished, 0)
            assert set(held(Place("db", alias, "db"))) == keys | {endless}
            assert_ended(run(*VERIFY[:4], f"db:{alias}", "--mode", "full"), 0)
    for alias in ("memcached", "table"):
        caches[alias].clear()
        ends = ("--source", "redis", "--dest", alias, "--no-input")
        assert_ended(run("copy_sessions_cache_to_cache", *ends), 0)
        assert caches[alias].get(redis_key(endless)) == {"n": 3}
        assert_ended(run(*VERIFY[:4], f"cache:{alias}", "--mode", "full"), 0)
