"""The samples in README.md are what the demo's shop shows when it is moved to PostgreSQL."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connections

from settings.base import ROOT
from tests.tutorials import Reader, assert_shown, blocks, server_of

pytestmark = [pytest.mark.slow, pytest.mark.postgresql]
MOVED, REFUSED = (
    block for block in blocks((ROOT / "README.md").read_text(encoding="utf-8")) if block.language == "text"
)
MOVE = "python manage.py batch_migrate --source default --dest new --migrate"
SETTINGS = """\
from settings.base import *
from settings.base import INSTALLED_APPS as BASE_APPS
INSTALLED_APPS = [*BASE_APPS, "demo"]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "%(home)s/shop.sqlite3"},
    "new": {"ENGINE": "django.db.backends.postgresql", **%(server)r},
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
SECRET_KEY = "of a test"
"""
MANAGE = """\
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "shop_settings"
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
FILL = """\
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "shop_settings"
import django
django.setup()
from demo.data import fill
fill("default")
"""
# Which tables and parts took longest differs from run to run.
VARYING = re.compile(r"(slowest|time) +.*?(?=row counts|Next:)", re.DOTALL)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Reader]:
    """Return a reader in a project with the demo's shop in SQLite, and an empty database on the server."""
    name = f"migrator_test_{settings.RUN}_readme"
    server = server_of("postgresql") | {"NAME": name}
    reader = Reader(tmp_path, name)
    reader.environment["PYTHONPATH"] = str(ROOT)
    reader.names = {str(tmp_path): "/srv/shop", f"{server['HOST']}:{server['PORT']}": "127.0.0.1:5432", name: "shop"}
    files = {"shop_settings.py": SETTINGS % {"home": tmp_path, "server": server}, "manage.py": MANAGE, "fill.py": FILL}
    for file, text in files.items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    on_server(f"CREATE DATABASE {name}")
    try:
        yield reader
    finally:
        on_server(f"DROP DATABASE {name}")


def on_server(sql: str) -> None:
    with connections["postgresql_a"]._nodb_cursor() as cursor:
        cursor.execute(sql)


def test_a_terminal_shows_the_samples(shop: Reader) -> None:
    command, _, moved = MOVED.text.partition("\n")
    assert command == f"$ {MOVE}"
    shop.type_in(MOVED.line, "python manage.py migrate --verbosity 0", 0)
    shop.type_in(MOVED.line, "python fill.py", 0)

    shop.type_in(MOVED.line, MOVE, 0)

    assert_shown(VARYING.sub(r"\1 ", moved), VARYING.sub(r"\1 ", shop.as_shown(shop.said)), MOVED.line)

    for sql in (f"DROP DATABASE {shop.database}", f"CREATE DATABASE {shop.database}"):
        on_server(sql)
    with closing(sqlite3.connect(shop.home / "shop.sqlite3")) as database:
        database.execute("UPDATE demo_person SET name = ? WHERE id = 9", ["x" * 121])
        database.execute("DELETE FROM demo_person WHERE id = 90")
        database.commit()
    shop.type_in(REFUSED.line, "python manage.py migrate --database new --verbosity 0", 0)

    shop.type_in(REFUSED.line, MOVE.removesuffix(" --migrate"), 1)

    assert_shown(REFUSED.text, shop.as_shown(shop.said), REFUSED.line)
    # Blanks and line breaks count as the same above.
    assert REFUSED.text.partition("\n")[2] in shop.said
