"""Run in a process of its own: a login made with a package's engine goes to a cache and back; prints what was seen."""

import importlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import StringIO
from typing import Any

import django
from django.conf import settings
from django.core.cache import caches
from django.core.management import call_command
from django.db import connection
from django.test import Client, override_settings

from tests.sessions.package_settings import STOCK_MIDDLEWARE
from tests.sessions.places import returning

CART = {"sku": "ä-1", "count": 2}


@contextmanager
def own_database() -> Iterator[None]:
    """Make the database, which the test names, and drop it afterwards."""
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    if connection.vendor != "sqlite":
        with connection._nodb_cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
    try:
        yield
    finally:
        connection.close()
        if connection.vendor != "sqlite":
            with connection._nodb_cursor() as cursor:
                cursor.execute(f"DROP DATABASE {name}")


def rows() -> list[dict[str, Any]]:
    model = importlib.import_module(f"{settings.PACKAGE}.models").Session
    return list(model.objects.order_by("session_key").values())


def copy(command: str, *words: str) -> dict[str, Any]:
    out = StringIO()
    with suppress(SystemExit):
        call_command(command, *words, "--no-input", "--no-progress", "--format", "json", stdout=out)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def journey() -> dict[str, Any]:
    """Log in, copy to the cache, switch to it, copy back, switch back, log out."""
    from django.contrib.auth import get_user_model

    call_command("migrate", verbosity=0)
    caches["redis"].clear()
    user = get_user_model().objects.create_user("somebody")
    client = Client(HTTP_USER_AGENT="Browser/1", REMOTE_ADDR="10.0.0.7")
    client.get(f"/login/{user.username}")
    client.post("/put", json.dumps(CART), content_type="application/json")
    seen: dict[str, Any] = {"user": user.pk, "before": rows()}

    seen["there"] = copy("copy_sessions_db_to_cache", "--source", "default", "--dest", "redis")
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {settings.PACKAGE}_session")
    stock = [STOCK_MIDDLEWARE if name.startswith(settings.PACKAGE) else name for name in settings.MIDDLEWARE]
    cached = {"SESSION_ENGINE": "django.contrib.sessions.backends.cache", "SESSION_CACHE_ALIAS": "redis"}
    with override_settings(MIDDLEWARE=stock, **cached):
        seen["in_cache"] = returning(client).get("/who").json()

    seen["back"] = copy("copy_sessions_cache_to_db", "--source", "redis", "--dest", "default")
    seen["after"] = rows()
    client = returning(client)
    seen["in_table"] = client.get("/who").json()
    seen["logged_out"] = client.get("/logout").json()
    seen["still"] = client.get("/who").json()
    return seen


if __name__ == "__main__":
    django.setup()
    with own_database():
        json.dump(journey(), sys.stdout, default=str)
