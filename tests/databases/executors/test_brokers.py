"""Executors come from the settings, whose mistakes are named, and say how many workers they have."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections
from django.test import override_settings

from migrator.checks.settings import check_settings
from migrator.conf import load
from migrator.databases.endpoints import open_endpoints
from migrator.databases.engines.registry import engine_for
from migrator.databases.executors.brokers import NotSent, open_broker
from migrator.databases.executors.invitations import invitation_by
from migrator.databases.executors.messages import ChunkMessage, Message
from migrator.databases.executors.obstacles import described, worker_findings
from migrator.errors import UsageError
from tests.databases.executors import pools
from tests.servers.databases import PAIRS, Pair

POOL = f"{pools.__name__}.two_threads"


@pytest.mark.parametrize(
    ("executors", "found"),
    [
        ([], None),
        ({"dask": {"EXECUTOR": POOL}}, None),
        (["celery"], "MIGRATOR['EXECUTORS'] is list, not a dictionary."),
        ({"celery": "shop.celery.app"}, "MIGRATOR['EXECUTORS']['celery'] is str, not a dictionary."),
        ({"celery": {}}, "MIGRATOR['EXECUTORS']['celery'] has to have one of 'APP' and 'EXECUTOR'."),
        (
            {"celery": {"APP": "shop.celery.app", "EXECUTOR": POOL}},
            "MIGRATOR['EXECUTORS']['celery'] has to have one of 'APP' and 'EXECUTOR'.",
        ),
        ({"celery": {"APP": "a.b", "QUEUES": "q"}}, "MIGRATOR['EXECUTORS']['celery'] has the unknown key 'QUEUES'"),
        ({"celery": {"APP": 1}}, "MIGRATOR['EXECUTORS']['celery']['APP'] is 1, not a string."),
    ],
)
def test_e011_executors(executors: Any, found: str | None) -> None:
    with override_settings(MIGRATOR={"EXECUTORS": executors}):
        messages = check_settings(None)
    assert [message.id for message in messages] == (["migrator.E011"] if found else [])
    assert all(message.msg.startswith(found or "") for message in messages)


@pytest.mark.parametrize(
    ("executor", "words"),
    [
        ({"APP": "tests.nowhere.app"}, r"\['APP'\] cannot be imported"),
        ({"EXECUTOR": f"{pools.__name__}.nothing"}, r"\['EXECUTOR'\] cannot be imported"),
        ({"EXECUTOR": "builtins.dict"}, "returns no concurrent.futures.Executor"),
        ({}, "has to have one of 'APP' and 'EXECUTOR'"),
    ],
)
def test_names_what_is_wrong_with_an_executor(executor: dict[str, str], words: str) -> None:
    with override_settings(MIGRATOR={"EXECUTORS": {"it": executor}}), pytest.raises(UsageError, match=words):
        open_broker("it", load())


def test_the_error_of_a_broker_shows_no_address() -> None:
    executors = {"celery": {"APP": f"{__name__}.UNREACHABLE"}}
    with override_settings(MIGRATOR={"EXECUTORS": executors}):
        broker = open_broker("celery", load())
    with pytest.raises(NotSent) as error:
        broker.send(ChunkMessage("run", "a", "b", "table", 1))
    assert str(error.value) == "ConnectionError"
    assert error.value.__cause__ is None


class Unreachable:
    """An app whose broker does not answer."""

    def connection_for_write(self) -> None:
        raise ConnectionError("redis://:secret@broker.internal:6379/0 does not answer")


UNREACHABLE = Unreachable()


class Answering:
    """A broker with so many processes."""

    run = "run"
    advice = "Start one: celery -A shop worker"

    def __init__(self, processes: int | None) -> None:
        self._processes = processes

    def send(self, message: Message) -> None:
        raise NotImplementedError

    def processes(self) -> int | None:
        if self._processes == -1:
            raise NotSent("ConnectionError")
        return self._processes

    def close(self) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("pair", [PAIRS[4], PAIRS[5]], ids=str, indirect=True)
@pytest.mark.parametrize(
    ("processes", "words"),
    [
        (0, ["executor: no worker answers. Start one: celery -A shop worker"]),
        (-1, ["executor: its broker does not answer (ConnectionError). Start one: celery -A shop worker"]),
        (None, []),
        (1, []),
    ],
)
def test_the_plan_warns_if_no_worker_answers(pair: Pair, processes: int | None, words: list[str]) -> None:
    with open_endpoints(pair.source, pair.dest, load()) as endpoints:
        findings = list(worker_findings(endpoints, Answering(processes)))
    assert list(map(str, findings)) == words
    assert not any(finding.stops for finding in findings)


@pytest.mark.parametrize("pair", [PAIRS[4], PAIRS[5]], ids=str, indirect=True)
def test_the_plan_warns_of_more_workers_than_a_server_has_sessions_for(pair: Pair) -> None:
    with open_endpoints(pair.source, pair.dest, load()) as endpoints:
        found = list(map(str, worker_findings(endpoints, Answering(100_000))))
    assert [text.partition(":")[0] for text in found] == [pair.source, pair.dest]
    assert all("more session" in text and "100,000 worker processes answered" in text for text in found)


def test_says_how_many_processes_have_answered() -> None:
    source = engine_for(connections["postgresql_a"])
    assert "executor 'celery' take part (3 processes answered)" in described("celery", Answering(3), source)
    assert "answered" not in described("dask", Answering(None), source)


@pytest.mark.parametrize(("processes", "invited"), [(-1, None), (0, None), (3, 3), (None, 8), (1000, 192)])
def test_invites_as_many_as_have_answered(processes: int | None, invited: int | None) -> None:
    invitation = invitation_by(Answering(processes), "mysql_a", "postgresql_b", lambda: None)
    assert (invitation and invitation.sessions) == invited


@pytest.mark.parametrize(
    ("processes", "enlisted", "words"),
    [
        (4, 3, "mysql_a: 3 of 4 worker processes began its snapshot together with the command, and none can join it"),
        (4, 0, "mysql_a: 0 of 4 worker processes began its snapshot together with the command, and none can join it"),
        (None, 0, "mysql_a: no worker began its snapshot together with the command, and none can join it later"),
        (4, 4, None),
        (None, 1, None),
    ],
)
def test_says_how_many_workers_read_the_snapshot_that_none_can_join_later(
    processes: int | None, enlisted: int, words: str | None
) -> None:
    pair = Pair("mysql_a", "postgresql_b")
    with open_endpoints(pair.source, pair.dest, load()) as endpoints:
        endpoints.source.enlisted = enlisted
        found = list(map(str, worker_findings(endpoints, Answering(processes))))
    assert [text[: len(words or "")] for text in found] == ([words] if words else [])
