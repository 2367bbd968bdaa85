"""No command calls a receiver of the project's for signals of models: it neither makes nor saves an instance."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.db.models import QuerySet, signals

from migrator.transitions.database_metrics import DatabaseMetricsStorage
from migrator.transitions.metrics_storage import Sums
from migrator.transitions.phases import Phase
from tests.management.running import run
from tests.scenarios.faults.oracle import THREE_PAIRS, Oracle, move, wait_until_unlocked, words
from tests.scenarios.test_resume import CHUNK_RECORDED, Trap, in_a_process_of_its_own
from tests.servers.databases import Pair
from tests.sessions.conftest import _site, ready  # noqa: F401  (fixtures)
from tests.sessions.places import CACHE, ROWS, Place, put
from tests.sessions.transition import test_clear_store as test_clearing
from tests.sessions.transition.conftest import fresh  # noqa: F401  (a fixture)
from tests.sessions.transition.pairs import POSTGRESQL, SQLITE, site_of
from tests.testapp.models import Article, Tag

MODEL_SIGNALS = [
    signals.pre_init, signals.post_init, signals.pre_save, signals.post_save, signals.pre_delete, signals.post_delete,
    signals.m2m_changed, signals.pre_migrate, signals.post_migrate,
]  # fmt: skip


@contextmanager
def forbidden_signals() -> Iterator[None]:
    """Connect a receiver of every signal of models, for all senders, that raises wherever it is called."""

    def heard(sender: Any, **about: Any) -> None:
        if sender.__module__ != "django.db.migrations.recorder":  # as Django itself reads which migrations are applied
            raise AssertionError(f"a signal of {sender} was sent")

    with ExitStack() as stack:
        for one in MODEL_SIGNALS:
            one.connect(heard, weak=False)
            stack.callback(one.disconnect, heard)
        yield


def quietly(*arguments: str) -> None:
    with forbidden_signals():
        finished = run(*arguments, "--skip-checks")  # a system check of django.contrib.auth makes a User
    assert finished.code == 0, finished.err


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_moves_and_updates_send_no_signal(pair: Pair, oracle: Oracle, tmp_path: Path) -> None:
    ends = ("--source", pair.source, "--dest", pair.dest)
    quietly(*words(pair, "--dry-run"))
    quietly(*words(pair, "--on-error", "skip", "--rejects", str(tmp_path / "rejects"), "--jobs", "2"))
    oracle.assert_complete()
    QuerySet(Article, using=pair.source).filter(pk=1).update(name="changed")
    QuerySet(Tag, using=pair.source).filter(pk=40).delete()
    quietly(*words(pair, "--update", "--verify", "full"))
    QuerySet(Tag, using=pair.source).create(name="new")
    quietly("batch_migrate_models", *ends, "testapp.Tag", "--filter", "name=new", "--no-input")
    quietly("verify_counts", *ends, "testapp.Tag", "--mode", "full")
    oracle.assert_complete()


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
@pytest.mark.parametrize("how", ["--resume", "--cleanup"])
def test_runs_that_were_interrupted_send_no_signal(pair: Pair, oracle: Oracle, how: str) -> None:
    def killed() -> None:
        with forbidden_signals(), connections[pair.dest].execute_wrapper(Trap(9, CHUNK_RECORDED)):
            move(pair)

    assert in_a_process_of_its_own(killed) == -signal.SIGKILL
    wait_until_unlocked(pair.dest)
    quietly(*words(pair, how))
    if how == "--resume":
        oracle.assert_complete()


@pytest.mark.redis
def test_copies_of_sessions_and_caches_send_no_signal(ready: Callable[..., None]) -> None:  # noqa: F811
    other_rows = Place("db", "sqlite_b", "db")
    ready(CACHE, ROWS, other_rows, Place("cache", "redis_other", "cache"))  # redis_prefixed is in its database
    for number in range(3):
        put(CACHE, {"n": number})
    to_rows = ("--source", CACHE.alias, "--dest", ROWS.alias)
    quietly("copy_sessions_cache_to_db", *to_rows, "--no-input")
    quietly("verify_sessions", "--source", f"cache:{CACHE.alias}", "--dest", f"db:{ROWS.alias}")
    quietly("copy_sessions_db_to_cache", "--source", ROWS.alias, "--dest", "redis_other", "--no-input")
    quietly("copy_sessions_cache_to_cache", "--source", "redis_other", "--dest", "table", "--no-input")
    quietly("copy_cache", "--source", "redis_other", "--dest", "redis_prefixed", "--no-input")
    quietly("copy_sessions_db_to_db", "--source", ROWS.alias, "--dest", other_rows.alias, "--no-input")


def test_the_clean_up_and_the_metrics_of_a_transition_send_no_signal(fresh: Callable[..., None]) -> None:  # noqa: F811
    with site_of(POSTGRESQL, SQLITE, fresh=fresh) as site:
        test_clearing.history(15)
        test_clearing.add(site, Phase.DUAL_NEW)
        site.phase = Phase.NEW
        quietly("session_transition")
        quietly("clear_old_sessions", "--clear", "db:postgresql_a", "--no-input")
        assert test_clearing.live(site.change.old) == set()
    with forbidden_signals():
        place = DatabaseMetricsStorage("sqlite_b")
        place.add("site", Sums({(Phase.NEW, "miss"): 1}))
        assert place.read("site").counts
        place.reset("site")
