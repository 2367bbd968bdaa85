"""A project with the pages, and its visitors."""

import os
from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.test import Client, override_settings

from migrator.sessions.transition.session_metrics import session_metrics
from migrator.transitions.metrics_storage import Sums
from migrator.transitions.phases import Phase
from tests.management.test_cache_transition import transition
from tests.servers.databases import FreshDatabases

# It needs Chromium, which `make test-browser` installs and names; if the command line names it, it is collected.
collect_ignore = [] if os.environ.get("MIGRATOR_TEST_BROWSER") else ["test_browser.py"]


@pytest.fixture(autouse=True)
def _project() -> Iterator[None]:
    with override_settings(ROOT_URLCONF="tests.watch.urls", ALLOWED_HOSTS=["*"]):
        yield


@pytest.fixture
def visitor(databases: FreshDatabases) -> Iterator[Callable[..., Client]]:
    """Return a function that returns the client of a user who has signed in."""

    def sign_in(*, is_staff: bool = True) -> Client:
        name = "staff" if is_staff else "customer"
        user, _ = get_user_model()._default_manager.get_or_create(username=name, defaults={"is_staff": is_staff})
        client = Client()
        client.force_login(user)
        return client

    yield sign_in
    get_user_model()._default_manager.filter(username__in=["staff", "customer"]).delete()
    Session.objects.all().delete()


@pytest.fixture
def staff(visitor: Callable[..., Client]) -> Client:
    """Return the client of a user with staff status."""
    return visitor()


@pytest.fixture
def counted() -> Iterator[None]:
    """Begin a transition of sessions, and one of a cache, whose workers have counted something."""
    engines = "django.contrib.sessions.backends"
    sessions = {
        "OLD": {"ENGINE": f"{engines}.cache", "CACHE": "other"},
        "NEW": {"ENGINE": f"{engines}.db", "DATABASE": "default"},
        "PHASE": "dual_old",
        "TALLY": "cache:default",
    }
    local = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    aliases = {
        "default": {**local, "LOCATION": "counts"},
        "other": {**local, "LOCATION": "sessions"},
        "moving": transition("dual_new"),
    }
    with override_settings(MIGRATOR={"SESSIONS": sessions, "PROTECTED": ["sqlite_a"]}, CACHES=aliases):
        session_metrics().storage.add("sessions", Sums({(Phase.DUAL_OLD, "hit_old"): 12, (Phase.OLD, "miss"): 3}))
        caches["moving"].tally().storage.add("cache.moving", Sums({(Phase.DUAL_NEW, "fallback"): 5}))  # type: ignore[attr-defined]
        yield
        caches["default"].clear()
        caches["moving"].NEW.clear()  # type: ignore[attr-defined]
