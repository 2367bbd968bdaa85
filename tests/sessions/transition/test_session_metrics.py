"""Workers add up what they count where all of them share a place."""

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from migrator.sessions.transition.session_metrics import metrics_location, session_metrics
from migrator.transitions.cache_metrics import CacheMetricsStorage
from migrator.transitions.database_metrics import DatabaseMetricsStorage

BACKENDS = "django.contrib.sessions.backends"
LOCAL = {"ENGINE": f"{BACKENDS}.cache", "CACHE": "default"}
SHARED = {"ENGINE": f"{BACKENDS}.cache", "CACHE": "table"}
OTHER = {"ENGINE": f"{BACKENDS}.cache", "CACHE": "small_table"}
ROWS = {"ENGINE": f"{BACKENDS}.db", "DATABASE": "sqlite_a"}
BOTH = {"ENGINE": f"{BACKENDS}.cached_db", "DATABASE": "sqlite_a", "CACHE": "table"}
LOCAL_BEFORE_ROWS = {"ENGINE": f"{BACKENDS}.cached_db", "DATABASE": "sqlite_a", "CACHE": "default"}
FILES = {"ENGINE": f"{BACKENDS}.file"}


def change(old: Any, new: Any, **more: Any) -> Any:
    return override_settings(MIGRATOR={"SESSIONS": {"OLD": old, "NEW": new, **more}})


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        (ROWS, SHARED, "cache:table"),
        (SHARED, ROWS, "db:sqlite_a"),
        (SHARED, OTHER, "cache:small_table"),
        (ROWS, BOTH, "cache:table"),
        (SHARED, LOCAL_BEFORE_ROWS, "db:sqlite_a"),
        (SHARED, FILES, "cache:table"),
        (ROWS, LOCAL, "db:sqlite_a"),
        (ROWS, {"ENGINE": f"{BACKENDS}.db"}, "db:sqlite_b"),
    ],
)
def test_is_what_new_has_and_else_what_old_has(old: Any, new: Any, place: str) -> None:
    with change(old, new), override_settings(SESSIONS_DB="sqlite_b"):
        assert metrics_location() == place
        kind = CacheMetricsStorage if place.startswith("cache:") else DatabaseMetricsStorage
        assert isinstance(session_metrics().storage, kind)


@pytest.mark.parametrize("place", ["cache:table", "db:default"])
def test_is_what_the_setting_says(place: str) -> None:
    with change(ROWS, SHARED, TALLY=place):
        assert metrics_location() == place


@pytest.mark.parametrize("place", ["cache:nobody", "db:nobody", "cache", "redis:table", "table", ""])
def test_refuses_what_is_no_place(place: str) -> None:
    message = "not 'cache:ALIAS' or 'db:ALIAS' with an alias in"
    with change(ROWS, SHARED, TALLY=place), pytest.raises(ImproperlyConfigured, match=message):
        session_metrics()


def test_refuses_sides_of_which_no_place_is_shared() -> None:
    with change(FILES, LOCAL), pytest.raises(ImproperlyConfigured, match=r"Set MIGRATOR\['SESSIONS'\]"):
        session_metrics()


def test_refuses_settings_without_a_change() -> None:
    with override_settings(MIGRATOR={}), pytest.raises(ImproperlyConfigured, match="MIGRATOR has no SESSIONS"):
        session_metrics()


def test_a_process_has_one() -> None:
    with change(ROWS, SHARED):
        assert session_metrics() is session_metrics()
