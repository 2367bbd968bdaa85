"""The pages to watch: who sees them, what they show, that they write nothing, and that a dead server harms no page."""

from __future__ import annotations

import html
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connections
from django.test import Client, override_settings

from migrator.databases.journal.status import StatusReader
from migrator.errors import MigratorError, Refused
from migrator.processes import shared_reads
from migrator.sessions.transition.readiness import session_standing
from migrator.sessions.transition.session_metrics import session_metrics
from migrator.transitions.phases import Phase
from migrator.watch import reading
from tests.databases.snapshots import insert_rows
from tests.management.running import another_alias, contents, run
from tests.management.test_cache_transition import transition
from tests.management.test_migrator_status import ROWS, Stop, elsewhere, move
from tests.servers.databases import FreshDatabases, Pair
from tests.testapp.models import Rating, Tag

SITE = "/migrator/"
PAGES = [SITE, f"{SITE}status/sqlite_b/", f"{SITE}status/sqlite_b.json", f"{SITE}sessions/", f"{SITE}caches/default/"]
NO_STORE = "no-store, private"
HOSTILE = 'new"><script>alert(1)</script>\x1b[2J\u202e'


@pytest.fixture
def pair(databases: FreshDatabases) -> Pair:
    pair = Pair("sqlite_a", "sqlite_b")
    databases.fresh(*pair)
    insert_rows(Tag, pair.source, [{"id": number, "name": f"tag {number}"} for number in range(1, ROWS + 1)])
    return pair


def text(answer: Any) -> str:
    """Return what a page shows, without its style and script."""
    page = re.sub(r"<(style|script)[^>]*>.*?</\1>", "", answer.content.decode(), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


# -- who may see them -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", PAGES)
def test_only_staff_see_a_page(address: str, visitor: Callable[..., Client], databases: FreshDatabases) -> None:
    databases.fresh("sqlite_b")
    anonymous = Client().get(address)
    assert (anonymous.status_code, anonymous["Location"]) == (302, f"/accounts/login/?next={address}")
    refused = visitor(is_staff=False).get(address)
    assert refused.status_code == 403
    assert b"sqlite_b" not in refused.content
    shown = visitor().get(address)
    assert shown.status_code == 200
    assert {anonymous["Cache-Control"], refused["Cache-Control"], shown["Cache-Control"]} == {NO_STORE}


@pytest.mark.parametrize("address", PAGES)
def test_only_get_and_head_are_answered(address: str, staff: Client, databases: FreshDatabases) -> None:
    databases.fresh("sqlite_b")
    codes = {method: getattr(staff, method)(address).status_code for method in ("post", "put", "patch", "delete")}
    assert set(codes.values()) == {405}
    assert staff.head(address).status_code == 200


def test_a_page_loads_nothing_and_runs_its_own_script_only(staff: Client, databases: FreshDatabases) -> None:
    databases.fresh("sqlite_b")
    answer = staff.get(f"{SITE}status/sqlite_b/")
    policy, page = answer["Content-Security-Policy"], answer.content.decode()
    nonce = re.search(r"script-src 'nonce-([\w-]+)'", policy)
    assert nonce
    assert policy.startswith("default-src 'none'; ")
    assert re.findall(r"<(?:script|style)(?: [^>]*)?>", page) == [
        f'<{name} nonce="{nonce[1]}">' for name in ("style", "script")
    ]
    assert not re.search(r"<[^>]*\s(?:style|on\w+)=", page)
    assert re.findall(r'(?:src|href)="([^"]*)"', page) == ["data:,", SITE]
    assert nonce[1] not in staff.get(SITE)["Content-Security-Policy"]


# -- the run into a database ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("few_rows_are_many")
def test_shows_a_run_that_works(pair: Pair, staff: Client) -> None:
    pages: list[Any] = []
    move(pair, lambda: pages.append(elsewhere(lambda: staff.get(f"{SITE}status/{pair.dest}/"))))
    shown = text(pages[-1])
    page = pages[-1].content.decode()
    assert "WORKING" in shown
    assert f"100 % of the rows copied {ROWS} of {ROWS}" in shown
    assert "testapp.Tag" in shown
    assert 'role="progressbar"' in page
    assert f'aria-valuenow="100" aria-valuetext="{ROWS} of {ROWS} rows"' in page
    assert f'data-rows="{ROWS}"' in page
    assert '<meta http-equiv="refresh" content="2; url=?seen">' in page
    percents = [int(re.findall(r'aria-valuenow="(\d+)"', one.content.decode())[0]) for one in pages]
    assert percents == sorted(percents)
    assert len(set(percents)) > 1
    assert "Switch not yet: the run has not finished" in shown
    ended = text(staff.get(f"{SITE}status/{pair.dest}/?seen"))
    assert "ENDED" in ended
    assert "Switch only if the run ended with exit code 0, or verify_counts finds no difference" in ended
    assert "NO RUN" in text(staff.get(f"{SITE}status/{pair.dest}/"))


@pytest.mark.usefixtures("few_rows_are_many")
@pytest.mark.postgresql
def test_shows_how_to_continue_an_interrupted_run_and_what_it_dropped(
    databases: FreshDatabases, pair: Pair, staff: Client
) -> None:
    def stop() -> None:
        raise Stop

    databases.fresh("postgresql_b")
    pair = Pair(pair.source, "postgresql_b")
    with pytest.raises(Stop):
        move(pair, stop)
    connections.close_all()
    before = contents(pair.dest)
    shown = text(staff.get(f"{SITE}status/{pair.dest}/"))
    document = staff.get(f"{SITE}status/{pair.dest}.json").json()
    assert contents(pair.dest) == before
    assert "INTERRUPTED" in shown
    assert "Repeat its command with --resume" in shown
    assert "Switch no: rows, indexes and keys may be missing" in shown
    assert "What to do next Call again with resume=True to complete the run" in shown
    assert "Dropped until the end of the run, then recreated" in shown
    assert Rating._meta.label in shown
    printed = json.loads(run("migrator_status", "--dest", pair.dest, "--format", "json").out)
    assert {**document, "asked": None} == {**printed, "asked": None}
    assert document["exit_code"] == 3
    assert run("batch_migrate", "--source", pair.source, "--dest", pair.dest, "--cleanup", "--no-input").code == 0


def test_an_unknown_database_is_not_found(staff: Client) -> None:
    assert staff.get(f"{SITE}status/nowhere/").status_code == 404
    assert staff.get(f"{SITE}status/nowhere.json").status_code == 404
    assert staff.get(f"{SITE}caches/nowhere/").status_code == 404


def test_names_cannot_act_in_a_page(staff: Client) -> None:
    with another_alias(HOSTILE, ENGINE="django.db.backends.sqlite3", NAME=f"/nowhere/{HOSTILE}.sqlite3"):
        index = staff.get(SITE).content.decode()
        (address,) = re.findall(r'href="([^"]*script[^"]*)"', index)
        page = staff.get(html.unescape(address))
    for content in (index, page.content.decode()):
        assert "<script>alert" not in content
        assert "\x1b" not in content
        assert "\u202e" not in content
    assert "Cannot connect to" in text(page)
    assert "does not exist" in text(page)


def test_a_page_needs_no_transaction_of_a_database_that_is_down(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"ATOMIC_REQUESTS": True, "NAME": "/nowhere/db.sqlite3"}
    for name, value in changes.items():
        monkeypatch.setitem(connections.settings["sqlite_b"], name, value)
    assert "the file '/nowhere/db.sqlite3' does not exist" in text(staff.get(f"{SITE}status/sqlite_b/"))
    assert staff.get(SITE).status_code == 200


def test_reading_a_status_refuses_writes_and_leaves_the_session_as_it_was(alias: str) -> None:
    with StatusReader(alias) as reader:
        with reader.engine.without_writes(), pytest.raises(Exception, match=r"(?i)read.?only"):
            Tag._base_manager.using(alias).create(id=1, name="one")
        assert not Tag._base_manager.using(alias).exists()
        reader.read()
        Tag._base_manager.using(alias).create(id=1, name="one")
        assert Tag._base_manager.using(alias).get().name == "one"


# -- servers that do not answer ---------------------------------------------------------------------------------------


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Have the databases answer when the event is set, and visitors wait for a moment."""
    answer = threading.Event()
    monkeypatch.setattr(reading, "WAIT_SECONDS", 0.05)
    monkeypatch.setattr("migrator.watch.views.migrator_status", lambda dest: answer.wait(10) and _fail(dest))
    yield answer
    answer.set()
    deadline = time.monotonic() + 10
    while shared_reads._under_way and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not shared_reads._under_way


def _fail(dest: str) -> None:
    raise Refused(f"Cannot connect to {dest!r}.")


def test_a_database_that_does_not_answer_costs_one_thread_and_a_moment(staff: Client, silent: threading.Event) -> None:
    for _ in range(3):
        shown = staff.get(f"{SITE}status/sqlite_b/")
        assert shown.status_code == 200
        assert "'sqlite_b' does not answer: nothing was received for" in text(shown)
    assert staff.get(f"{SITE}status/sqlite_b.json").status_code == 503
    assert staff.get(f"{SITE}status/sqlite_b.json").json()["exit_code"] == 1
    assert [thread.name for thread in threading.enumerate()].count("read status of sqlite_b") == 1
    assert staff.get(SITE).status_code == 200
    silent.set()
    deadline = time.monotonic() + 10
    while shared_reads._under_way and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "Cannot connect to 'sqlite_b'." in text(staff.get(f"{SITE}status/sqlite_b/"))


# -- transitions ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("counted")
def test_shows_the_transition_of_sessions_without_opening_a_store(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("migrator.sessions.transition.readiness._found", _fail)
    monkeypatch.setattr(session_metrics(), "_schedule", lambda delay: None)
    session_metrics().count("hit_old", phase=Phase.DUAL_OLD)
    monkeypatch.setattr(session_metrics(), "flush", lambda: _fail("counts"))
    answer = staff.get(f"{SITE}sessions/")
    shown = text(answer)
    assert "DUAL_OLD Phase dual_old: OLD is authoritative" in shown
    assert "Conditions of the next step, to dual_new, that the counts show" in shown
    assert "SAFE" not in shown
    assert "yes workers were seen in dual_old" in shown
    assert "NO no worker was in old or new for 5 minutes" in shown
    assert "not compared: run with --verify full" in shown
    assert "OLD and NEW are not opened for this page." in shown
    assert "found in OLD 12" in shown, "what this process has not added yet is not written for a page"
    assert 'width="100.00%"' in answer.content.decode()


@pytest.mark.usefixtures("counted")
def test_the_index_lists_what_can_be_watched(staff: Client) -> None:
    page = staff.get(SITE).content.decode()
    assert f'href="{SITE}status/sqlite_b/">sqlite_b<' in page
    assert "sqlite_a" not in page, "no run can have a protected database as its destination"
    assert f'href="{SITE}sessions/"' in page


@pytest.mark.parametrize("mistake", [{"PROTECTD": []}, {"PROTECTED": 5}, "default"])
def test_a_mistake_in_the_settings_is_shown_on_the_pages(mistake: Any, staff: Client) -> None:
    with override_settings(MIGRATOR=mistake):
        assert f'href="{SITE}status/sqlite_b/">sqlite_b<' in staff.get(SITE).content.decode()
        assert "MIGRATOR" in text(staff.get(f"{SITE}sessions/"))


@pytest.mark.usefixtures("counted")
def test_no_step_is_judged_where_no_store_is_opened() -> None:
    assert session_standing().sides == ()
    with override_settings(MIGRATOR={}), pytest.raises(MigratorError):
        session_standing()


def test_shows_the_transition_of_a_cache(staff: Client) -> None:
    with override_settings(CACHES={"default": transition("dual_new")}):
        moving: Any = caches["default"]
        moving.OLD.set("a", 1, 100)
        assert moving.get("a") == 1
        moving.tally().flush()
        assert "Cache 'default'" in text(staff.get(SITE))
        shown = text(staff.get(f"{SITE}caches/default/"))
        moving.NEW.clear()
    assert "DUAL_NEW 'default': NEW answers" in shown
    assert "Counted by all workers" in shown
    assert "fallback 1" in shown


def test_a_transition_that_is_not_configured(staff: Client) -> None:
    assert "There is no transition of sessions" in text(staff.get(f"{SITE}sessions/"))
    assert "is not a TransitionCache" in text(staff.get(f"{SITE}caches/default/"))
    assert "Transitions" not in text(staff.get(SITE)).replace("Runs and transitions", "")
