"""`clear_old_sessions` empties what was left behind, touches nothing that is in use, and refuses what is not known."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from django.core.cache import caches
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import override_settings

from migrator.clock import now
from migrator.console.prompts import Prompter
from migrator.errors import Declined, Refused, UsageError
from migrator.sessions.endpoints import SessionEndpoint
from migrator.sessions.transition import SessionStore
from migrator.sessions.transition.clear_store import Cleared, clear_old_sessions
from migrator.sessions.transition.session_metrics import session_metrics
from migrator.sessions.transition.sides import TransitionSide
from migrator.stores.base import Record, digest
from migrator.transitions.metrics_storage import Sums
from migrator.transitions.phases import Phase
from tests.management.running import another_alias, entry_of
from tests.sessions.places import new_key
from tests.sessions.transition.pairs import (
    BACKENDS,
    CACHED_SQLITE,
    FILES,
    MEMCACHED,
    MYSQL,
    POSTGRESQL,
    POSTGRESQL_B,
    QSESSIONS,
    REDIS,
    REDIS_OTHER,
    SQLITE,
    USER_SESSIONS,
    Named,
    Site,
    param,
    site_of,
)

OLD, DUAL_OLD, DUAL_NEW, NEW = Phase
SECOND = 1_000_000
DAY = 86_400
# Whose cache is also that of CACHED_SQLITE.
CACHED_SQLITE_B = Named(
    "cached_sqlite_b",
    {"ENGINE": f"{BACKENDS}.cached_db", "DATABASE": "sqlite_b", "CACHE": "redis_other"},
    marks=("sqlite", "redis"),
)
PAIRS = [
    param(REDIS, POSTGRESQL),
    param(POSTGRESQL, REDIS),
    param(POSTGRESQL, POSTGRESQL_B),
    param(MYSQL, REDIS),
    param(MEMCACHED, SQLITE),
    param(FILES, REDIS),
    param(CACHED_SQLITE, REDIS_OTHER),
    param(REDIS_OTHER, CACHED_SQLITE),
    param(CACHED_SQLITE, CACHED_SQLITE_B),
    param(USER_SESSIONS, REDIS),
    param(QSESSIONS, REDIS),
]


def history(days: float) -> None:
    """Have NEW decide for so many days, and workers seen in `new` since."""
    place = session_metrics().storage
    session_metrics().reset()
    with pytest.MonkeyPatch.context() as patched:
        for phase, ago in ((DUAL_OLD, days), (DUAL_NEW, days - 0.001), (NEW, 1)):
            patched.setattr("migrator.transitions.metrics_storage.now", lambda ago=ago: now() - int(ago * DAY * SECOND))
            place.add("sessions", Sums({(phase, "miss"): 1}))


@pytest.fixture(params=PAIRS)
def left(request: pytest.FixtureRequest, fresh: Callable[..., None]) -> Iterator[Site]:
    """Give the site of each pair, which has used NEW alone for a long time."""
    with site_of(*request.param, fresh=fresh) as site:
        history(15)
        site.phase = NEW
        yield site


@pytest.fixture
def rows(fresh: Callable[..., None]) -> Iterator[Site]:
    """Give such a site whose OLD is a table."""
    with site_of(POSTGRESQL, SQLITE, fresh=fresh) as site:
        history(15)
        site.phase = NEW
        yield site


def add(site: Site, phase: Phase, **data: Any) -> str:
    """Log somebody in, in a phase."""
    before, site.phase = site.phase, phase
    session = SessionStore()
    session.update(data or {"n": 1})
    session.save()
    site.phase = before
    return str(session.session_key)


def put(side: TransitionSide, *, saved_ago: float = 0, expires_in: float = 10 * DAY) -> str:
    """Write a session behind everybody's back."""
    moment = now()
    with closing(SessionEndpoint(side.end).open()) as store:
        key, expires = new_key(), moment + int(expires_in * SECOND)
        data = {"n": 1, "_session_expiry": int(saved_ago + expires_in)}
        saved = (moment - int(saved_ago * SECOND)) // SECOND
        session = Record(key, store.dump(data, expires, saved)[0], expires)
        store.add([session._replace(more=store.remember(data, session, saved))])
    return key


def live(side: TransitionSide) -> set[str]:
    with closing(SessionEndpoint(side.end).open()) as store:
        return {key for page in store.keys(100) for key in page}


def cleared(site: Site, **options: Any) -> Cleared:
    end = site.change.old.end
    return clear_old_sessions(clear=f"{end.kind}:{end.alias}" if end.alias else end.kind, **options)


def run(*words: str) -> tuple[int, str, str]:
    """Run the command; return its code, what it printed and its verdict."""
    out = io.StringIO()
    try:
        call_command("clear_old_sessions", *words, "--no-progress", stdout=out, stderr=io.StringIO())
    except CommandError as error:
        return error.returncode, out.getvalue(), str(error)
    return 0, out.getvalue(), ""


# -- what is deleted, and what stays ----------------------------------------------------------------------------------


def test_empties_old_and_leaves_new_as_it_is(left: Site) -> None:
    both = {add(left, DUAL_NEW, n=number) for number in range(5)}
    only_new = add(left, NEW)
    before = {key: left.change.new.fetch(key) for key in [*both, only_new]}

    result = cleared(left, chunk_size=2)

    assert (result.removed, result.remaining, result.plan.leftovers.in_new) == (5, 0, 5)
    assert (result.plan.in_new, result.in_new) == (6, 6)
    assert live(left.change.old) == set()
    assert all(left.change.new.store.same(left.change.new.fetch(key), seen) for key, seen in before.items())
    left.phase = NEW
    assert [SessionStore(key).load() for key in sorted(both)] != [{}] * 5


def test_may_be_called_again(left: Site) -> None:
    add(left, DUAL_NEW)
    cleared(left)

    again = cleared(left)

    assert (again.removed, again.expired, again.remaining, again.in_new) == (0, 0, 0, 1)


def test_deletes_what_has_ended_in_new_since(left: Site) -> None:
    left_over = put(left.change.old, saved_ago=1 * DAY)

    result = cleared(left)

    assert (result.plan.leftovers.ended, result.plan.leftovers.lost, result.removed) == (1, 0, 1)
    assert left_over not in live(left.change.old)


def test_refuses_to_delete_what_new_may_never_have_had(left: Site) -> None:
    never = put(left.change.old, saved_ago=20 * DAY)
    shared = add(left, DUAL_NEW)

    with pytest.raises(Refused, match=r"Nothing was deleted\. 1 live session of OLD is not in NEW") as refused:
        cleared(left)

    assert live(left.change.old) == {never, shared}
    assert never not in str(refused.value)
    result = cleared(left, dry_run=True)
    assert [key for key, _ in result.plan.leftovers.listed] == [digest(never)]

    assert cleared(left, discard_missing=True).removed == 2
    assert live(left.change.old) == set()


def test_a_session_saved_while_it_is_emptied_stays(rows: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [add(rows, DUAL_NEW, n=number) for number in range(3)]
    store_type = type(rows.change.old.store)
    real = store_type.discard

    def save_first(self: Any, sessions: Any) -> Any:
        row = SessionStore(keys[0])
        rows.phase = OLD
        row["n"] = "saved meanwhile"
        row.save()
        rows.phase = NEW
        return real(self, sessions)

    monkeypatch.setattr(store_type, "discard", save_first)
    result = cleared(rows)

    assert (result.removed, result.remaining) == (2, 1)
    assert live(rows.change.old) == {keys[0]}


def test_deletes_expired_rows_also(rows: Site) -> None:
    with connections["postgresql_a"].cursor() as cursor:
        for number in range(5):
            row = [f"expired{number}", "x", "2001-01-01"]
            cursor.execute(
                "INSERT INTO django_session (session_key, session_data, expire_date) VALUES (%s, %s, %s)", row
            )
    result = cleared(rows, chunk_size=2)

    assert (result.removed, result.expired) == (0, 5)
    with connections["postgresql_a"].cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM django_session")
        assert cursor.fetchone() == (0,)


@pytest.mark.redis
def test_deletes_the_cache_before_the_table_also(fresh: Callable[..., None]) -> None:
    with site_of(CACHED_SQLITE, REDIS, fresh=fresh) as site:
        history(15)
        add(site, DUAL_NEW)
        orphan = "django.contrib.sessions.cached_db" + new_key()
        caches["redis_other"].set(orphan, {"n": 1})
        caches["redis_other"].set("another_key", 1)
        site.phase = NEW
        cleared(site)

        client: Any = caches["redis_other"]
        assert [key.decode() for key in client._cache.get_client(None, write=True).scan_iter("*")] == [":1:another_key"]


@pytest.mark.redis
def test_leaves_the_cache_that_new_has_before_its_table(fresh: Callable[..., None]) -> None:
    with site_of(CACHED_SQLITE, CACHED_SQLITE_B, fresh=fresh) as site:
        history(15)
        key = add(site, DUAL_NEW)
        site.phase = NEW
        SessionStore(key).load()
        name = "django.contrib.sessions.cached_db" + key
        assert caches["redis_other"].get(name) == {"n": 1}

        cleared(site)

        assert caches["redis_other"].get(name) == {"n": 1}
        assert SessionStore(key).load() == {"n": 1}


# -- when -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [OLD, DUAL_OLD, DUAL_NEW])
def test_refuses_in_any_other_phase(rows: Site, phase: Phase) -> None:
    key = add(rows, DUAL_NEW)
    rows.phase = phase

    with pytest.raises(Refused, match=f"The phase is {phase}: OLD is in use"):
        cleared(rows, after=0, discard_missing=True)

    assert live(rows.change.old) == {key}


@pytest.mark.parametrize(
    ("days", "after", "is_refused"),
    [(13, None, True), (15, None, False), (3, 2, False), (1, 2, True), (1, 0, False)],
)
def test_waits_until_new_has_decided_for_long_enough(
    rows: Site, days: float, after: float | None, is_refused: bool
) -> None:
    history(days)
    key = add(rows, DUAL_NEW)
    # The counts of the one who logged in are of a phase that must be over.
    if is_refused:
        with pytest.raises(Refused, match="Condition not met: NEW has been authoritative, without interruption, for"):
            cleared(rows, after=after)
    else:
        cleared(rows, after=after)
    assert live(rows.change.old) == ({key} if is_refused else set())


def test_refuses_without_a_record_unless_told_to(rows: Site) -> None:
    session_metrics().reset()
    add(rows, DUAL_NEW)

    with pytest.raises(Refused, match="the start was not recorded"):
        cleared(rows)

    assert cleared(rows, after=0).removed == 1


def test_refuses_while_workers_are_in_another_phase(rows: Site) -> None:
    session_metrics().storage.add("sessions", Sums({(DUAL_NEW, "miss"): 1}))

    with pytest.raises(Refused, match="no worker was in old, dual_old or dual_new for 5 minutes"):
        cleared(rows, after=0)


def test_refuses_a_protected_database(rows: Site) -> None:
    with (
        override_settings(MIGRATOR={"SESSIONS": rows.setting(), "PROTECTED": ["postgresql_a"]}),
        pytest.raises(Refused, match=r"MIGRATOR\['PROTECTED'\] names the database 'postgresql_a'"),
    ):
        cleared(rows)


def test_refuses_one_place_under_two_names(rows: Site) -> None:
    # So that the server alone can tell.
    entry = entry_of("postgresql_a", OPTIONS={"application_name": "same"})
    with another_alias("same", **entry) as same:
        side = {"ENGINE": f"{BACKENDS}.db", "DATABASE": same}
        key = add(rows, DUAL_NEW)
        with (
            override_settings(MIGRATOR={"SESSIONS": rows.setting(NEW=side)}),
            pytest.raises(Refused, match="OLD and NEW are the same store"),
        ):
            cleared(rows, after=0)
    assert key in live(rows.change.old)


# -- asking -----------------------------------------------------------------------------------------------------------


class Typing(Prompter):
    def __init__(self, word: str) -> None:
        self.word, self.warning = word, ""

    def type_to_destroy(self, warning: str, word: str) -> bool:
        self.warning = warning
        return word == self.word


def test_the_place_has_to_be_typed(rows: Site) -> None:
    add(rows, DUAL_NEW)
    wrong, right = Typing("db:sqlite_a"), Typing("db:postgresql_a")

    with pytest.raises(Declined, match="pass --clear db:postgresql_a"):
        clear_old_sessions(prompter=wrong)
    assert len(live(rows.change.old)) == 1
    clear_old_sessions(prompter=right)

    assert live(rows.change.old) == set()
    assert "1 live ones, of which 1 are in NEW as well" in right.warning
    assert "table django_session" in right.warning


def test_the_option_has_to_name_what_is_emptied(rows: Site) -> None:
    with pytest.raises(UsageError, match="--clear names 'db:sqlite_a', but 'db:postgresql_a' would be emptied"):
        clear_old_sessions(clear="db:sqlite_a")


def test_no_input_decides_nothing(rows: Site) -> None:
    key = add(rows, DUAL_NEW)

    code, _, verdict = run("--no-input")

    assert (code, live(rows.change.old)) == (1, {key})
    assert "Nothing was deleted." in verdict


def test_a_dry_run_deletes_nothing(rows: Site) -> None:
    key = add(rows, DUAL_NEW)

    assert run("--dry-run")[0] == 0
    put(rows.change.old, saved_ago=20 * DAY)
    code, out, verdict = run("--dry-run")

    assert (code, verdict) == (3, "Nothing was deleted. Nothing may be deleted yet.")
    assert "Note: 1 live session of OLD is not in NEW" in out
    assert key in live(rows.change.old)
    assert key not in out


def test_prints_one_document(rows: Site) -> None:
    add(rows, DUAL_NEW)

    code, out, _ = run("--clear", "db:postgresql_a", "--format", "json", "--rate", "1000")

    found = json.loads(out)
    assert (code, found["removed"], found["remaining"], found["in_new_after"]) == (0, 1, 0, 1)
