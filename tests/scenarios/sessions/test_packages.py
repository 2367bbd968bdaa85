"""django-user-sessions and django-qsessions as they are installed: their engine's logins, to a cache and back."""

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from settings.base import ROOT
from tests.stores.redis.expiries import reading_error

PACKAGES = [
    pytest.param(name, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed"))
    for name in ("user_sessions", "qsessions")
]
pytestmark = [pytest.mark.redis, pytest.mark.slow]
SOMEBODY = {"user": "somebody", "cart": {"sku": "ä-1", "count": 2}}
NOBODY = {"user": "", "cart": None}


@pytest.mark.parametrize("alias", ["sqlite_a", "postgresql_a", "mysql_a"])
@pytest.mark.parametrize("package", PACKAGES)
def test_a_login_goes_to_a_cache_and_back(package: str, alias: str, databases: Any, tmp_path: Path) -> None:
    directory = tmp_path / f"run-{tmp_path.parent.name[-6:].replace('-', '')}{package[:1]}{alias[:1]}"
    directory.mkdir()
    variables = {
        "DJANGO_SETTINGS_MODULE": "tests.sessions.package_settings",
        "MIGRATOR_TEST_DIRECTORY": str(directory),
        "MIGRATOR_TEST_SESSIONS_PACKAGE": package,
        "MIGRATOR_TEST_SESSIONS_DATABASE": alias,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.sessions.inside_package"],
        env=os.environ | variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)

    (before,), (after,) = seen["before"], seen["after"]
    assert (before["user_id"], before["ip"], before["user_agent"]) == (seen["user"], "10.0.0.7", "Browser/1")
    assert [seen[way]["total"]["written"] for way in ("there", "back")] == [1, 1]
    assert (seen["in_cache"], seen["in_table"]) == (SOMEBODY, SOMEBODY)
    assert (seen["logged_out"], seen["still"]) == (NOBODY, NOBODY)
    assert (after["session_key"], after["user_id"]) == (before["session_key"], seen["user"])
    # A cache keeps milliseconds.
    left = datetime.fromisoformat(before["expire_date"]) - datetime.fromisoformat(after["expire_date"])
    assert timedelta(0) <= left < timedelta(microseconds=1000 + reading_error())
    # In their data, qsessions keeps both as well.
    known = ("10.0.0.7", "Browser/1") if package == "qsessions" else (None, None)
    assert (after["ip"], after["user_agent"]) == known
