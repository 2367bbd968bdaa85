"""The README's way back after a switch that was made without the engine of two stores."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.management import call_command
from django.test import override_settings

from migrator.sessions.copying.run import copy_sessions
from migrator.sessions.records import CopyOptions
from tests.sessions.copying.test_passes import end, save
from tests.sessions.places import BACKENDS, CACHE, ROWS, Place, data_of, put

pytestmark = pytest.mark.redis
STORES = {
    "redis": {"ENGINE": f"{BACKENDS}.cache", "CACHE": "redis"},
    "sqlite_a": {"ENGINE": f"{BACKENDS}.db", "DATABASE": "sqlite_a"},
}


@pytest.fixture(params=[(CACHE, ROWS), (ROWS, CACHE)], ids=["from-cache", "from-db"])
def switched(request: pytest.FixtureRequest, ready: Callable[..., None]) -> Iterator[tuple[Place, Place, Any]]:
    """Give both places after a switch from one to the other, on which one session changed, ended, and began."""
    old, new = request.param
    ready(old, new)
    same, changed, ended = (put(old, {"n": n}) for n in range(3))
    copy_sessions(source=old.end, dest=new.end)
    save(new, changed, {"n": "changed"})
    end(new, ended)
    began = put(new, {"n": "began"})
    with new.in_use():
        yield old, new, {same: {"n": 0}, changed: {"n": "changed"}, began: {"n": "began"}}


def test_brings_back_what_was_ended_since_where_the_old_store_is_not_emptied(switched: Any) -> None:
    old, new, expected = switched

    copy_sessions(source=new.end, dest=old.end, options=CopyOptions(overwrite_older=True))

    assert len(data_of(old)) == len(expected) + 1


def test_brings_nothing_back_where_the_old_store_is_emptied_first(switched: Any, tmp_path: Path) -> None:
    old, new, expected = switched
    caches["redis"].set("page", "kept")
    sides = {"OLD": STORES[old.alias], "NEW": STORES[new.alias], "PHASE": "new"}
    place = f"{old.kind}:{old.alias}"

    with override_settings(MIGRATOR={"SESSIONS": sides}):
        call_command(
            "clear_old_sessions", "--clear", place, "--after", "0", "--discard-missing", "--no-input", verbosity=0
        )

    assert data_of(old) == {}
    options = CopyOptions(manifest=tmp_path / "back", catch_up=5)
    copy_sessions(source=new.end, dest=old.end, options=options)
    assert data_of(old) == expected
    assert data_of(new) == expected
    assert caches["redis"].get("page") == "kept"
