"""Executors in the settings, and waits as short as tests need them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings

from migrator.databases.engines.mysql import enlisted_sessions
from migrator.databases.executors import dispatcher
from tests.databases.executors import pools


@pytest.fixture
def executors() -> Iterator[None]:
    names = [name for name in vars(pools) if name.islower() and callable(getattr(pools, name))]
    with override_settings(MIGRATOR={"EXECUTORS": {name: {"EXECUTOR": f"{pools.__name__}.{name}"} for name in names}}):
        yield


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten all waits."""
    monkeypatch.setattr(dispatcher, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(dispatcher, "HOLD_SECONDS", 0.3)
    monkeypatch.setattr(enlisted_sessions, "FIRST_SECONDS", 3.0)
    monkeypatch.setattr(enlisted_sessions, "NEXT_SECONDS", 0.5)


@pytest.fixture
def ended() -> Iterator[None]:
    """Wait for the threads of workers, which close their sessions when the run no longer wants them."""
    yield
    for _ in range(100):
        threads: list[Any] = [one for one in threading.enumerate() if one.name == "migrator"]
        if not any(thread._session or thread._enlisted for thread in threads):
            return
        time.sleep(0.05)
    pytest.fail("a worker has kept its sessions")
