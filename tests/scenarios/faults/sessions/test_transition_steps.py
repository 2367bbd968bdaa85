"""Steps of a change of sessions that must not be taken: each is judged, forward and back, by what people would get."""

import io
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.core.management import CommandError, call_command
from django.test import override_settings

from migrator.clock import now
from migrator.sessions.transition import SessionStore
from migrator.sessions.transition.readiness import Readiness, session_transition
from migrator.sessions.transition.session_metrics import session_metrics
from migrator.transitions.metrics_storage import Sums
from migrator.transitions.phases import Phase
from tests.sessions.places import new_key
from tests.sessions.transition.pairs import (
    CACHED_SQLITE,
    CACHED_SQLITE_B,
    MYSQL,
    POSTGRESQL,
    REDIS,
    SQLITE,
    SQLITE_B,
    Named,
    Site,
    site_of,
)

OLD, DUAL_OLD, DUAL_NEW, NEW = Phase
SECOND = 1_000_000
DAY = 86_400
UUID = "de44628b-7bdc-4f0e-9d1b-3a51a2f0c001"
UUIDS = Named("uuids", {"ENGINE": "tests.sessions.engines.uuids", "CACHE": "redis"}, marks=("redis",))
Fresh = Callable[..., None]
TALLIES = [
    pytest.param(f"{kind}:{alias}", marks=getattr(pytest.mark, server))
    for kind, alias, server in (
        ("db", "postgresql_a", "postgresql"),
        ("db", "mysql_a", "mysql"),
        ("cache", "redis", "redis"),
        ("cache", "client", "redis"),
        ("cache", "memcached", "memcached"),
    )
]


def seen(phase: Phase, ago: float, event: str = "miss") -> None:
    """Have workers count an event some seconds ago."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("migrator.transitions.metrics_storage.now", lambda: now() - int(ago * SECOND))
        session_metrics().storage.add("sessions", Sums({(phase, event): 1}))


def saved(site: Site, phase: Phase, **data: Any) -> str:
    session = site.session(phase=phase)
    session.update(data or {"cart": 1})
    session.save()
    return str(session.session_key)


def unmet(found: Readiness) -> dict[str, str]:
    return {item.text: item.figure for item in found.conditions if not item.is_met}


def run(*words: str) -> tuple[int, str, str]:
    """Run a command; return its code, what it printed and its verdict."""
    out = io.StringIO()
    try:
        call_command(*words, "--no-progress", stdout=out, stderr=io.StringIO())
    except CommandError as error:
        return error.returncode, out.getvalue(), str(error)
    return 0, out.getvalue(), ""


@pytest.fixture
def rows(fresh: Fresh) -> Iterator[Site]:
    with site_of(SQLITE, SQLITE_B, fresh=fresh) as site:
        session_metrics().reset()
        yield site


@pytest.mark.redis
def test_sessions_with_keys_of_the_engines_own_making_are_judged_and_cleared(fresh: Fresh) -> None:
    with site_of(UUIDS, SQLITE, fresh=fresh) as site:
        session_metrics().reset()
        keys = [saved(site, OLD) for _ in range(3)]
        site.phase = DUAL_OLD
        seen(DUAL_OLD, ago=900)

        assert "0 of 3 sessions equal, 3 missing" in str(unmet(session_transition(verify="full")))

        for key in keys:
            site.session(key, DUAL_NEW).load()
        site.phase = NEW
        code, out, _ = run("clear_old_sessions", "--clear", "cache:redis", "--after", "0")
        assert (code, [site.data("old", key) for key in keys]) == (0, [None] * 3)
        assert "OLD is empty." in out


@pytest.mark.redis
def test_keys_that_only_begin_like_sessions_are_told_and_never_called_empty(fresh: Fresh) -> None:
    with site_of(REDIS, SQLITE, fresh=fresh) as site:
        session_metrics().reset()
        caches["redis"].set(f"django.contrib.sessions.cache{UUID}", {"cart": 1}, 60)
        site.phase = DUAL_OLD
        seen(DUAL_OLD, ago=900)
        text = "every key of OLD with the prefix of sessions looks like a session's"

        assert unmet(session_transition(verify="full")) == {text: "1 key does not"}
        assert "pass the pattern of session keys with --key-regex" in run("session_transition", "--verify", "full")[1]
        regex = "[a-z0-9-]{32,36}"
        assert "0 of 1 session equal, 1 missing" in str(unmet(session_transition(verify="full", key_regex=regex)))

        site.phase = NEW
        words = ("clear_old_sessions", "--clear", "cache:redis", "--after", "0", "--discard-missing")
        code, out, verdict = run(*words)
        assert (code, verdict) == (4, "OLD is not empty: 1 session with keys of another form remains there.")
        assert UUID not in out
        assert run(*words, "--dry-run")[0] == 4
        assert run(*words, "--key-regex", regex)[0] == 0
        assert list(caches["redis"]._cache.get_client(None, write=True).scan_iter("*session*")) == []
        caches["redis"].set("django.contrib.sessions.cacheINDEX-OF-ALL", [1], 60)
        code, out, _ = run(*words)
        assert code == 0
        assert "OLD no longer holds any session; 1 other key under its prefix remains there." in out


@pytest.mark.redis
@pytest.mark.parametrize("is_back", [False, True], ids=["forward", "back"])
def test_a_cache_before_the_rows_that_is_older_holds_the_step_up(is_back: bool, fresh: Fresh) -> None:
    with site_of(CACHED_SQLITE, CACHED_SQLITE_B, fresh=fresh) as site:
        session_metrics().reset()
        phase, alias = (DUAL_NEW, "redis_other") if is_back else (DUAL_OLD, "redis_prefixed")
        keys = [saved(site, phase, cart=2) for _ in range(2)]
        seen(phase, ago=900)
        assert unmet(session_transition(verify="full", back=is_back)) == {}

        names = [f"django.contrib.sessions.cached_db{key}" for key in (keys[0], new_key())]
        caches[alias].set_many({key: {"cart": 1} for key in names}, 600)

        side = "OLD" if is_back else "NEW"
        found = unmet(session_transition(verify="full", back=is_back))
        assert found == {
            f"the cache before the table of {side} matches its rows": "2 sessions with other data, or without a row"
        }
        place = f"db:{'sqlite_a' if is_back else 'sqlite_b'}"
        assert run("clear_old_sessions", "--side", side.lower(), "--clear", place, "--after", "0")[0] == 0
        assert caches[alias].get_many(names) == {}
        assert all(site.session(key, phase)["cart"] == 2 for key in keys)


def test_a_step_back_is_judged_as_one_forward(rows: Site) -> None:
    seen(NEW, ago=2000)
    seen(DUAL_NEW, ago=900)
    left_behind = saved(rows, NEW, cart=2)
    rows.phase = DUAL_NEW
    session_metrics().forget()
    text = "every live session of NEW is in OLD, with the same expiry and data"

    assert unmet(session_transition(back=True)) == {text: "not compared: run with --verify full, or quick"}
    assert "0 of 1 session equal, 1 missing" in unmet(session_transition(back=True, verify="full"))[text]
    code, out, verdict = run("session_transition", "--back", "--verify", "full")
    assert (code, verdict) == (3, "The step back, to dual_old, is not safe: 1 condition not met.")
    assert "Copy the sessions of NEW to OLD with --overwrite-older, and compare again." in out

    rows.session(left_behind, DUAL_NEW).save()
    assert run("session_transition", "--back", "--verify", "full")[0] == 0


def test_what_has_ended_in_new_holds_the_step_back_to_dual_new_up(rows: Site) -> None:
    seen(DUAL_NEW, ago=2000)
    seen(NEW, ago=900)
    key = saved(rows, DUAL_NEW)
    rows.change.new.delete(key)
    rows.phase = NEW
    session_metrics().forget()

    assert unmet(session_transition(back=True, verify="quick")) == {
        "every live session of OLD is in NEW": "1 of 1 session missing"
    }
    out = run("session_transition", "--back", "--verify", "quick")[1]
    _, _, command = out.partition("Empty OLD first: ")
    name, *options = command.partition(".")[0].split()
    assert (name, options) == ("clear_old_sessions", ["--after", "0", "--discard-missing"])

    session_metrics().forget()
    with pytest.MonkeyPatch.context() as patched:  # the worker in dual_new was restarted long ago
        patched.setattr("migrator.transitions.metrics_storage.now", lambda: now() + 400 * SECOND)
        assert run(name, *options, "--clear", "db:sqlite_a", "--no-input")[0] == 0
    rows.phase = NEW
    assert unmet(session_transition(back=True, verify="quick")) == {}


def test_keys_that_are_rolled_out_hold_the_step_back_to_old_up(rows: Site) -> None:
    rows.phase, rows.share = DUAL_OLD, 5.0
    seen(DUAL_OLD, ago=900)

    assert unmet(session_transition(back=True)) == {"ROLLOUT is 0": "5 %"}


@pytest.mark.parametrize(
    ("phase", "side", "place"), [(DUAL_OLD, "new", "db:sqlite_b"), (DUAL_NEW, "old", "db:sqlite_a")]
)
def test_the_store_that_follows_is_emptied_by_a_command_with_guards(
    phase: Phase, side: str, place: str, rows: Site
) -> None:
    both, follower = saved(rows, phase), rows.change.new if side == "new" else rows.change.old
    decider = rows.change.old if side == "new" else rows.change.new
    ended = saved(rows, phase)
    decider.delete(ended)  # while nobody told the other
    words = ("clear_old_sessions", "--side", side, "--clear", place)
    session_metrics().reset()

    assert "1 live session of " in run(*words)[2], "nothing is known of whether it ended"
    seen(phase, ago=0)
    rows.phase = OLD if phase is DUAL_NEW else NEW
    assert "is authoritative and cannot be emptied" in run(*words)[2] or "OLD is in use" in run(*words)[2]
    rows.phase = phase
    other = DUAL_NEW if phase is DUAL_OLD else DUAL_OLD
    seen(other, ago=10)
    assert (
        f"Condition not met: no worker was in {'dual_new or new' if phase is DUAL_OLD else 'old or dual_old'}"
        in (run(*words, "--discard-missing")[2])
    )
    assert run(*words, "--discard-missing", "--no-input")[0] == 1
    session_metrics().reset()
    code, out, _ = run(*words, "--discard-missing")

    assert code == 0
    assert f"{side.upper()} is empty." in out
    assert (follower.holds(both), follower.holds(ended), decider.holds(both)) == (False, False, True)
    assert SessionStore(both)["cart"] == 1


def test_a_worker_that_is_still_there_is_not_overlooked(rows: Site) -> None:
    """Its counts come only every 15 seconds."""
    rows.phase = DUAL_OLD
    seen(DUAL_OLD, ago=900)
    seen(OLD, ago=20)

    found = session_transition(verify="quick", quiet_for=6)

    assert "no worker was in old or new for 30 seconds" in unmet(found)
    assert found.notes[0].startswith("--quiet-for 6 is too short: workers add to their counts in db:sqlite_b every 15")


@pytest.mark.parametrize("tally", TALLIES)
@pytest.mark.parametrize("minutes", [-10, 10], ids=["behind", "ahead"])
def test_a_worker_whose_clock_is_wrong_is_seen_when_it_was_there(
    tally: str, minutes: int, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tally.startswith("db:"):
        fresh(POSTGRESQL if "postgresql" in tally else MYSQL)
    with site_of(SQLITE, SQLITE_B, fresh=fresh) as site:
        site.phase = DUAL_OLD
        with override_settings(MIGRATOR={"SESSIONS": site.setting(TALLY=tally)}):
            session_metrics().reset()
            with monkeypatch.context() as patched:
                patched.setattr("migrator.clock.time_ns", lambda: time.time_ns() + minutes * 60 * 10**9)
                session_metrics().storage.add("sessions", Sums({(OLD, "miss"): 1}))
                judged_there = session_transition()
            judged_here = session_transition()
            (seen_at,) = {session_metrics().read().last_seen(OLD)}

    assert "no worker was in old or new for 5 minutes" in unmet(judged_here)
    assert "no worker was in old or new for 5 minutes" in unmet(judged_there)
    assert seen_at is not None
    assert abs(seen_at - now()) < 60 * SECOND
    (note,) = judged_there.notes
    way = "behind" if minutes < 0 else "ahead of"
    assert re.match(rf"This host's clock is (9|10) minutes( \d+ seconds?)? {way} that of {re.escape(tally)}", note)
    assert judged_here.notes == ()


@pytest.mark.parametrize(("phase", "back"), [(OLD, False), (OLD, True), (DUAL_OLD, True), (NEW, True)])
def test_counts_that_cannot_be_read_make_no_step_safe(
    phase: Phase, back: bool, rows: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.phase = phase

    def fail(name: str) -> None:
        raise ConnectionError

    monkeypatch.setattr(session_metrics().storage, "read", fail)
    code, out, _ = run("session_transition", "--verify", "full", *(["--back"] if back else []))

    assert code == 3
    found = unmet(session_transition(verify="full", back=back))
    assert set(found.values()) >= {"unknown"}
    assert any(text.startswith("no worker was in") for text in found)
    assert "TALLY in MIGRATOR['SESSIONS'] can name another store" in out


def test_counts_that_were_lost_make_no_step_back_to_old_safe(rows: Site) -> None:
    rows.phase = DUAL_OLD
    session_metrics().forget()

    assert unmet(session_transition(back=True)) == {"workers were seen in dual_old": "none seen"}


@pytest.mark.parametrize("command", ["session_transition", "clear_old_sessions"])
def test_a_site_without_a_transition_is_told_so(command: str) -> None:
    code, _, verdict = run(command)

    assert code == 2
    assert verdict.startswith(
        "There is no transition of sessions: SESSION_ENGINE is 'django.contrib.sessions.backends.db'"
    )
