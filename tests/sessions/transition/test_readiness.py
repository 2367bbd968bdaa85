"""`session_transition` says that a step is safe only where every figure it needs is known and speaks for it."""

import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import override_settings

from migrator.clock import now
from migrator.errors import UsageError
from migrator.sessions.transition import SessionStore
from migrator.sessions.transition.readiness import Readiness, session_transition
from migrator.sessions.transition.session_metrics import metrics_location, session_metrics
from migrator.transitions.metrics_storage import Sums
from migrator.transitions.phases import Phase
from tests.management.running import facts
from tests.management.running import run as run_command
from tests.servers.base import PASSWORD
from tests.sessions.transition.pairs import MEMCACHED, POSTGRESQL, REDIS, SQLITE, Named, Site, param, site_of

OLD, DUAL_OLD, DUAL_NEW, NEW = Phase
SECOND = 1_000_000
PAIRS = [param(REDIS, POSTGRESQL), param(POSTGRESQL, REDIS), param(SQLITE, MEMCACHED)]


def count_for_real(site: Site) -> None:
    """Begin with nothing counted, and have stores count where all workers do."""
    session_metrics().reset()
    site.change.count = session_metrics().count


@pytest.fixture(params=PAIRS)
def quiet_site(request: pytest.FixtureRequest, fresh: Callable[..., None]) -> Iterator[Site]:
    """Give the site of each pair, with nothing counted."""
    with site_of(*request.param, fresh=fresh) as site:
        count_for_real(site)
        yield site


@pytest.fixture
def site_of_rows(fresh: Callable[..., None]) -> Iterator[Site]:
    """Give a site whose counts are kept in a database."""
    with site_of(REDIS, SQLITE, fresh=fresh) as site:
        count_for_real(site)
        yield site


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give a function that has workers count an event some seconds ago."""

    def count(phase: Phase, ago: float, event: str = "miss", number: int = 1) -> None:
        with monkeypatch.context() as patched:
            patched.setattr("migrator.transitions.metrics_storage.now", lambda: now() - int(ago * SECOND))
            session_metrics().storage.add("sessions", Sums({(phase, event): number}))

    return count


def add(phase: Phase = DUAL_OLD, site: Site | None = None, **data: Any) -> str:
    """Log somebody in."""
    if site is not None:
        site.phase = phase
    session = SessionStore()
    session.update(data or {"n": 1})
    session.save()
    return str(session.session_key)


def unmet(found: Readiness) -> dict[str, str]:
    return {item.text: item.figure for item in found.conditions if not item.is_met}


def run(*words: str) -> tuple[int, str, str]:
    """Run the command; return its code, what it printed and its verdict."""
    out = io.StringIO()
    try:
        call_command("session_transition", *words, "--no-progress", stdout=out, stderr=io.StringIO())
    except CommandError as error:
        return error.returncode, out.getvalue(), str(error)
    return 0, out.getvalue(), ""


# -- each phase -------------------------------------------------------------------------------------------------------


def test_in_old_both_stores_have_to_answer_and_no_worker_to_be_ahead(
    quiet_site: Site, seen: Callable[..., None]
) -> None:
    add(OLD, quiet_site)
    found = session_transition()

    assert found.is_safe
    assert [side.sessions for side in found.sides] == [1, 0]

    seen(NEW, ago=10)
    assert set(unmet(session_transition())) == {
        "no worker was in dual_new or new for 5 minutes",
        "workers came to old from an adjacent phase",
    }


def test_in_dual_old_every_session_has_to_be_in_new(quiet_site: Site, seen: Callable[..., None]) -> None:
    site = quiet_site
    left = add(OLD, site)
    add(DUAL_OLD, site)
    seen(OLD, ago=1000)
    seen(DUAL_OLD, ago=900)
    text = "every live session of OLD is in NEW, with the same expiry and data"

    assert unmet(session_transition()) == {text: "not compared: run with --verify full"}
    figure = "1 of 2 sessions equal, 1 missing, 0 only in NEW, 0 with another expiry"
    quick = "; the data was not compared: run with --verify full"
    assert unmet(session_transition(verify="quick")) == {text: f"{figure}{quick}"}
    assert unmet(session_transition(verify="full")) == {text: f"{figure}, 0 with other data"}

    site.session(left).save()
    assert unmet(session_transition(verify="quick")) == {text: f"2 of 2{figure[6:].replace('1', '0')}{quick}"}
    assert unmet(session_transition(verify="full")) == {}


def test_in_dual_old_a_save_that_only_old_has_holds_the_step_up(site_of_rows: Site, seen: Callable[..., None]) -> None:
    """A worker that is still in `old` saves what NEW got from one in `dual_old`; the expiry is a fixed date."""
    seen(OLD, ago=1000)
    seen(DUAL_OLD, ago=900)
    key = add(DUAL_OLD, site_of_rows, n=1, _session_expiry="2099-01-01T00:00:00+00:00")
    session = site_of_rows.session(key, OLD)
    session["n"] = 2
    session.save()
    site_of_rows.phase = DUAL_OLD

    expected = "0 of 1 session equal, 0 missing, 0 only in NEW, 0 with another expiry, 1 with other data"
    assert expected in unmet(session_transition(verify="full")).values()
    (text,) = (text for text in unmet(session_transition(verify="full")) if text.startswith("every live session"))
    assert text in unmet(session_transition(verify="quick"))


def test_in_dual_old_a_worker_in_old_holds_the_step_up(quiet_site: Site, seen: Callable[..., None]) -> None:
    quiet_site.phase = DUAL_OLD
    seen(DUAL_OLD, ago=900)
    seen(OLD, ago=200)

    assert set(unmet(session_transition(verify="full"))) == {"no worker was in old or new for 5 minutes"}
    assert unmet(session_transition(verify="full", quiet_for=100)) == {}


def test_after_an_error_of_new_existence_is_not_enough(quiet_site: Site, seen: Callable[..., None]) -> None:
    quiet_site.phase = DUAL_OLD
    seen(DUAL_OLD, ago=900)
    seen(DUAL_OLD, ago=800, event="shadow_error", number=3)

    assert "--verify full compares the data" in str(unmet(session_transition(verify="quick")))
    assert unmet(session_transition(verify="full")) == {}


def test_what_new_missed_while_it_was_down_holds_the_step_up(quiet_site: Site, seen: Callable[..., None]) -> None:
    site = quiet_site
    ended, saved = add(DUAL_OLD, site), add(DUAL_OLD, site)
    site.change.old.delete(ended)
    session = site.change.old.instance(saved, None, None)
    session["n"] = 2
    session.save()
    session_metrics().forget()
    session_metrics().reset()
    seen(DUAL_OLD, ago=900, event="shadow_error", number=2)

    (figure,) = unmet(session_transition(verify="full")).values()

    assert figure.startswith("0 of 1 session equal, 0 missing, 1 only in NEW, ")


@pytest.mark.redis
def test_what_json_changes_on_the_way_is_told(site_of_rows: Site, seen: Callable[..., None]) -> None:
    add(DUAL_OLD, site_of_rows, point=(1, 2))
    session_metrics().forget()
    session_metrics().reset()
    seen(DUAL_OLD, ago=900)
    assert session_transition().notes == ()
    seen(DUAL_OLD, ago=800, event="changed", number=3)

    (note,) = session_transition().notes
    assert note.startswith("JSON has changed 3 writes to the store that follows, the last 2")
    (figure,) = unmet(session_transition(verify="quick")).values()
    assert figure.endswith("; JSON has changed sessions: --verify full compares the data")
    (figure,) = unmet(session_transition(verify="full")).values()
    assert figure.endswith(", 1 with other data")
    code, out, _ = run()
    assert code == 3
    assert f"Note: {note}" in out
    assert "changed by JSON in the store that only follows" in run("-v", "2")[1]
    assert json.loads(run("--format", "json")[1])["notes"] == [note]


def test_a_late_error_of_new_holds_the_step_up(quiet_site: Site, seen: Callable[..., None]) -> None:
    quiet_site.phase = DUAL_OLD
    seen(DUAL_OLD, ago=900)
    seen(DUAL_OLD, ago=100, event="shadow_error", number=3)

    (text, figure), *others = unmet(session_transition(verify="full")).items()

    assert (text, others) == ("no error of NEW for 5 minutes", [])
    assert figure.startswith("3, the last 2")


def test_in_dual_new_nothing_may_be_found_in_old_alone(quiet_site: Site, seen: Callable[..., None]) -> None:
    site = quiet_site
    left = add(OLD, site)
    seen(DUAL_OLD, ago=1000)
    seen(DUAL_NEW, ago=900)
    site.phase = DUAL_NEW
    assert unmet(session_transition(verify="quick")) == {
        "every live session of OLD is in NEW": "1 of 1 session missing"
    }

    assert site.session(left).load() == {"n": 1}

    assert set(unmet(session_transition(verify="quick"))) == {"no session was found only in OLD for 5 minutes"}
    session_metrics().forget()
    session_metrics().reset()
    seen(DUAL_NEW, ago=900)
    seen(DUAL_NEW, ago=400, event="fallback")
    assert unmet(session_transition(verify="quick")) == {}


def test_in_new_a_whole_lifetime_has_to_pass(quiet_site: Site, seen: Callable[..., None]) -> None:
    quiet_site.phase = NEW
    seen(DUAL_NEW, ago=settings.SESSION_COOKIE_AGE - 1000)
    seen(NEW, ago=10)
    assert list(unmet(session_transition())) == ["NEW has been authoritative, without interruption, for 14 days"]

    with override_settings(SESSION_COOKIE_AGE=settings.SESSION_COOKIE_AGE - 2000):
        assert unmet(session_transition()) == {}


# -- what is not known is not safe ------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [DUAL_OLD, DUAL_NEW, NEW])
def test_without_a_count_no_step_is_safe(quiet_site: Site, phase: Phase) -> None:
    quiet_site.phase = phase

    assert f"workers were seen in {phase}" in unmet(session_transition(verify="full"))


@pytest.mark.redis
def test_a_count_begun_lately_is_not_enough(site_of_rows: Site, seen: Callable[..., None]) -> None:
    site_of_rows.phase = DUAL_NEW
    seen(DUAL_NEW, ago=100)

    found = unmet(session_transition(verify="quick"))

    assert list(found) == ["no session was found only in OLD for 5 minutes"]
    assert found["no session was found only in OLD for 5 minutes"].startswith("counted only since 2")


@pytest.mark.redis
def test_a_jump_over_phases_is_told(site_of_rows: Site, seen: Callable[..., None]) -> None:
    site_of_rows.phase = NEW
    seen(OLD, ago=1000)
    seen(NEW, ago=900)

    found = session_transition()
    assert unmet(found)["workers came to new from an adjacent phase"].startswith("old last 2")
    assert "A phase between old and new was skipped" in run()[1]


@pytest.mark.redis
def test_counts_that_cannot_be_read_are_told(site_of_rows: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ConnectionError(f"with {PASSWORD}")

    site_of_rows.phase = DUAL_NEW
    monkeypatch.setattr(session_metrics().storage, "read", fail)

    code, out, _ = run()

    assert code == 3
    assert f"could not be read from {metrics_location()}: ConnectionError." in out
    assert PASSWORD not in out


@pytest.mark.redis
def test_a_store_that_does_not_answer_is_told(site_of_rows: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise ConnectionError(f"with {PASSWORD}")

    monkeypatch.setattr("migrator.sessions.stores.cache.CacheStore.count", fail)

    for more in ([], ["-v", "2"]):
        code, out, _ = run("--verify", "quick", *more)

        assert code == 3
        assert out.count("it does not answer (ConnectionError)") == 1
        assert ["NO", "OLD answers", "the error above"] in [re.split(" {2,}", row.strip()) for row in out.splitlines()]
        assert PASSWORD not in out


def test_refuses_settings_without_a_transition() -> None:
    with pytest.raises(UsageError, match="MIGRATOR\\['SESSIONS'\\]"):
        session_transition()


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.redis
def test_a_copy_between_the_sides_notes_a_phase_that_writes_to_one_store(site_of_rows: Site) -> None:
    """Between both, nothing is to be noted: workers write to both stores themselves."""
    noted = {}
    for phase in Phase:
        with override_settings(MIGRATOR={"SESSIONS": site_of_rows.setting(PHASE=str(phase))}):
            done = run_command("copy_sessions", "--dry-run", "--format", "json")
        noted[phase] = [note.partition(",")[0] for note in json.loads(done.out)["notes"]]

    assert noted == {OLD: ["the phase is old"], DUAL_OLD: [], DUAL_NEW: [], NEW: ["the phase is new"]}


def test_counts_what_requests_do(quiet_site: Site) -> None:
    key = add(DUAL_OLD, quiet_site)
    quiet_site.session(key).load()
    quiet_site.session("0" * 32).load()

    code, out, verdict = run("-v", "2")

    assert code == 3
    assert verdict == "The next step, to dual_new, is not safe: 2 conditions not met."
    assert out.startswith(f"NOT SAFE  {verdict}\n")
    assert facts(out)["phase"] == "dual_old: OLD is authoritative; writes and logouts are mirrored to NEW."
    rows = [line.split("  ") for line in out.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in rows]
    assert ["dual_old", "found in OLD", "1"] in [row[:3] for row in cells]
    assert ["dual_old", "not found", "1"] in [row[:3] for row in cells]
    assert key not in out


def test_tells_what_to_deploy_next_and_the_way_back(quiet_site: Site) -> None:
    for phase, following, back in (("old", "dual_old", None), ("dual_new", "new", "dual_old")):
        with override_settings(MIGRATOR={"SESSIONS": quiet_site.setting(PHASE=phase)}):
            out = run()[1]
        condition = "" if out.startswith("SAFE") else "when every condition is met: "
        assert out.splitlines()[-1] == f'Next: {condition}MIGRATOR["SESSIONS"]["PHASE"] = "{following}"'
        assert len(out.splitlines()) <= 20
        found = facts(out).get("way back", "")
        assert found.partition(" (")[0] == (f'MIGRATOR["SESSIONS"]["PHASE"] = "{back}"' if back else "")


def test_names_the_step_back_as_the_next_one_if_that_was_judged(quiet_site: Site) -> None:
    for phase, setting in (
        ("dual_new", 'MIGRATOR["SESSIONS"]["PHASE"] = "dual_old"'),
        ("old", f'SESSION_ENGINE = "{quiet_site.setting()["OLD"]["ENGINE"]}"'),
    ):
        with override_settings(MIGRATOR={"SESSIONS": quiet_site.setting(PHASE=phase)}):
            out = run("--back")[1]
        condition = "" if out.startswith("SAFE") else "when every condition is met: "
        assert out.splitlines()[-1] == f"Next: {condition}{setting}"


@pytest.mark.redis
def test_tells_what_is_left_to_do_in_the_last_phase(site_of_rows: Site) -> None:
    site_of_rows.phase = NEW

    assert (
        'python manage.py clear_old_sessions\n      then SESSION_ENGINE = "django.contrib.sessions.backends.db", '
        'MIGRATOR["SESSION_DATABASE"] = "sqlite_a" for the router'
    ) in run()[1]


@pytest.mark.redis
def test_names_no_router_where_sessions_stay_in_the_default_database(fresh: Callable[..., None]) -> None:
    default = Named("default", {"ENGINE": "django.contrib.sessions.backends.db", "DATABASE": "default"})
    with site_of(REDIS, default, fresh=fresh) as site:
        site.phase = NEW
        assert 'then SESSION_ENGINE = "django.contrib.sessions.backends.db"\n' in run()[1]


def test_prints_one_document(quiet_site: Site, seen: Callable[..., None]) -> None:
    quiet_site.phase = NEW
    seen(DUAL_NEW, ago=2_000_000)
    seen(NEW, ago=1_900_000)

    code, out, _ = run("--format", "json", "--verify", "quick")

    found = json.loads(out)
    assert (code, found["exit_code"], found["is_safe"], found["phase"]) == (0, 0, True, "new")
    assert found["following"] is None
    assert found["comparison"]["missing"] == 0
    assert ("new", "fallback", 0) in [(row["phase"], row["event"], row["number"]) for row in found["counts"]]
    assert PASSWORD not in out


def test_forgets_after_telling(quiet_site: Site, seen: Callable[..., None]) -> None:
    quiet_site.phase = DUAL_NEW
    seen(DUAL_NEW, ago=900, event="fallback", number=7)

    assert "found only in OLD" in run("--reset")[1]
    assert "found only in OLD" not in run()[1].replace("no session was found only in OLD", "")


def test_tells_a_roll_out(quiet_site: Site) -> None:
    quiet_site.phase, quiet_site.share = DUAL_OLD, 12.5

    assert facts(run()[1])["phase"].startswith("dual_old (12.5 % of the keys are in dual_new already): ")
