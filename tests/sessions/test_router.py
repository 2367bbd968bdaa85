"""Where the router sends the session table before, during and after a change of databases."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connections, router
from django.test import override_settings

from migrator.transitions.phases import Phase
from tests.servers.databases import FreshDatabases

BACKENDS = "django.contrib.sessions.backends"
ROUTER = ["migrator.sessions.router.SessionRouter"]


def change(phase: Phase, old: str | None = "default", new: str | None = "sqlite_a", **more: Any) -> Any:
    """Set a change of databases in a phase."""
    sides = {name: {"ENGINE": f"{BACKENDS}.db", "DATABASE": alias} for name, alias in (("OLD", old), ("NEW", new))}
    return override_settings(DATABASE_ROUTERS=ROUTER, MIGRATOR={"SESSIONS": {**sides, "PHASE": phase, **more}})


@pytest.mark.parametrize(
    ("phase", "alias"),
    [(Phase.OLD, "default"), (Phase.DUAL_OLD, "default"), (Phase.DUAL_NEW, "sqlite_a"), (Phase.NEW, "sqlite_a")],
)
def test_follows_the_side_that_decides(phase: Phase, alias: str) -> None:
    with change(phase):
        assert (router.db_for_read(Session), router.db_for_write(Session)) == (alias, alias)


@pytest.mark.parametrize(("phase", "alias"), [(Phase.DUAL_OLD, "default"), (Phase.DUAL_NEW, "sqlite_a")])
def test_a_proxy_is_where_its_rows_are(phase: Phase, alias: str) -> None:
    meta = type("Meta", (), {"proxy": True, "app_label": "sessions"})
    proxy: Any = type(f"Login{phase.name}", (Session,), {"__module__": __name__, "Meta": meta})
    with change(phase):
        assert (router.db_for_read(proxy), router.db_for_write(proxy)) == (alias, alias)


def test_sends_sessions_to_their_database_after_the_change() -> None:
    with override_settings(DATABASE_ROUTERS=ROUTER, MIGRATOR={"SESSION_DATABASE": "sqlite_a"}):
        assert (router.db_for_read(Session), router.db_for_write(Session)) == ("sqlite_a", "sqlite_a")
        assert router.allow_migrate_model("sqlite_a", Session)
        assert not router.allow_migrate_model("default", Session)


def test_does_nothing_without_a_setting() -> None:
    with override_settings(DATABASE_ROUTERS=ROUTER, MIGRATOR={}):
        assert router.db_for_write(Session) == "default"
        assert router.allow_migrate_model("sqlite_b", Session)


def test_makes_the_table_on_both_sides_and_nowhere_else() -> None:
    with change(Phase.OLD):
        allowed = {alias for alias in ("default", "sqlite_a", "sqlite_b") if router.allow_migrate_model(alias, Session)}
    assert allowed == {"default", "sqlite_a"}


def test_migrate_makes_the_table_of_new(databases: FreshDatabases) -> None:
    databases.fresh("sqlite_a")
    with connections["sqlite_a"].cursor() as cursor:
        cursor.execute("DROP TABLE django_session")
        cursor.execute("DELETE FROM django_migrations WHERE app = 'sessions'")
    with change(Phase.OLD):
        call_command("migrate", "sessions", database="sqlite_a", verbosity=0)
    assert "django_session" in connections["sqlite_a"].introspection.table_names()


def test_leaves_everything_else_alone() -> None:
    with change(Phase.NEW):
        for model in (get_user_model(), Group):
            assert router.db_for_write(model) == "default"
            assert router.allow_migrate_model("sqlite_b", model)
        assert not router.allow_relation(_at(Group(), "default"), _at(Group(), "sqlite_a"))


def test_lets_a_session_point_to_a_user_of_another_database() -> None:
    with change(Phase.NEW):
        session = _at(Session(), "sqlite_a")
        assert router.allow_relation(session, _at(get_user_model()(), "default"))
        assert router.db_for_read(get_user_model(), instance=session) == "default"


def _at(instance: Any, alias: str) -> Any:
    instance._state.db = alias
    return instance
