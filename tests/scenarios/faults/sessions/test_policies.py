"""Sessions and cached values in tables whose rows a policy hides are not taken for absent by any command."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from django.core.cache import caches
from django.core.checks import run_checks
from django.core.management import call_command
from django.test import override_settings

from migrator.sessions.transition.readiness import session_transition
from migrator.stores.copying.page_copier import PageCopier
from migrator.transitions.phases import Phase
from tests.management.running import execute, run
from tests.scenarios.faults.oracle import assert_ended
from tests.servers.databases import FreshDatabases
from tests.sessions.places import ROWS, Place, held, put
from tests.sessions.transition.pairs import POSTGRESQL, SQLITE, site_of

pytestmark = pytest.mark.postgresql

TABLE = Place("db", "postgresql_a", "db")
HIDDEN = ("row-level security may hide rows", "BYPASSRLS")


@contextmanager
def policy(table: str) -> Iterator[None]:
    """Hide every row, from the owner, too."""
    execute(
        "postgresql_a",
        f"CREATE POLICY none ON {table} USING (false)",
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
    )
    try:
        yield
    finally:
        execute(
            "postgresql_a",
            f"DROP POLICY none ON {table}",
            f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY",
            f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
        )


def test_sessions_that_a_policy_hides_stop_copies_and_comparisons(ready: Callable[..., None]) -> None:
    ready(TABLE, ROWS)
    put(TABLE, {"a": 1})
    there, here = ("--source", "postgresql_a", "--dest", "sqlite_a"), ("--source", "sqlite_a", "--dest", "postgresql_a")
    with policy("django_session"):
        for finished in (
            run("copy_sessions_db_to_db", *there, "--no-input"),
            run("copy_sessions_db_to_db", *here, "--no-input"),
            run("verify_sessions", "--source", "db:postgresql_a", "--dest", "db:sqlite_a"),
        ):
            assert_ended(finished, 1, *HIDDEN)
    assert_ended(run("copy_sessions_db_to_db", *there, "--no-input"), 0)


@pytest.mark.parametrize("table_is", ["source", "dest"])
def test_a_policy_that_comes_up_in_the_middle_stops_the_copy(
    table_is: str, ready: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(TABLE, ROWS)
    source, dest = (TABLE, ROWS) if table_is == "source" else (ROWS, TABLE)
    keys = [put(source, {"n": n}) for n in range(3)]
    there = put(dest, {"n": 0})
    look_again = PageCopier.compare_again
    words = ("--source", source.alias, "--dest", dest.alias, "--no-input")
    with ExitStack() as stack:

        def then_hidden(self: Any, wrote: Any) -> None:
            stack.enter_context(policy("django_session"))
            look_again(self, wrote)

        monkeypatch.setattr(PageCopier, "compare_again", then_hidden)
        finished = run("copy_sessions_db_to_db", *words, "--chunk-size", "2")
    assert_ended(finished, 1, *HIDDEN, "What was written stays")
    monkeypatch.setattr(PageCopier, "compare_again", look_again)
    assert_ended(run("copy_sessions_db_to_db", *words), 0)
    assert set(held(dest)) == {*keys, there}


def test_a_transition_says_that_a_policy_hides_its_sessions(
    fresh: Callable[..., None], databases: FreshDatabases
) -> None:
    with site_of(POSTGRESQL, SQLITE, fresh=fresh) as site, policy("django_session"):
        found = run_checks(tags=["migrator"], include_deployment_checks=True)
        (warning,) = [message.msg for message in found if message.id == "migrator.W051"]
        assert all(words in warning for words in HIDDEN)
        old, _ = session_transition().sides
        assert all(words in str(old.error) for words in HIDDEN)
        with override_settings(MIGRATOR={"SESSIONS": site.setting() | {"PHASE": Phase.NEW.value}}):
            assert_ended(run("clear_old_sessions", "--clear", "db:postgresql_a", "--no-input"), 1, *HIDDEN)


class ToPostgreSQL:
    """Sends the table of a cache to PostgreSQL."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "postgresql_a" if model._meta.app_label == "django_cache" else None

    db_for_read = db_for_write

    def allow_migrate(self, alias: str, app_label: str, **hints: Any) -> bool | None:
        return True


def test_values_that_a_policy_hides_are_not_copied_without_them(databases: FreshDatabases) -> None:
    databases.fresh("postgresql_a")
    with override_settings(DATABASE_ROUTERS=[ToPostgreSQL()]):
        call_command("createcachetable", database="postgresql_a", stdout=io.StringIO())
        caches["table"].set("key", "value")
        with policy(caches["table"]._table):
            assert_ended(run("copy_cache", "--source", "table", "--dest", "files", "--no-input"), 1, *HIDDEN)
        assert_ended(run("copy_cache", "--source", "table", "--dest", "files", "--no-input"), 0)
