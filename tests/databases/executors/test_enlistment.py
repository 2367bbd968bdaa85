"""Workers that read MariaDB and MySQL begin their snapshot together with the command, or take no part."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.models import QuerySet

from migrator.console.prompts import Prompter
from migrator.databases.api import Console, batch_migrate
from migrator.databases.engines.base.shared_snapshots import Invitation
from migrator.databases.engines.mysql import engine as mysql_engine
from migrator.databases.engines.mysql import enlisted_sessions, snapshots
from migrator.databases.engines.mysql.engine import MySQL
from migrator.databases.executors.worker import carry_out
from migrator.errors import Declined
from tests.databases.executors import pools
from tests.databases.side_by_side import LABELS, Heard, assert_equal, fill, move, until
from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import Article, Tag

pytestmark = [pytest.mark.usefixtures("executors", "soon", "ended"), pytest.mark.mysql]
TO_POSTGRESQL = PAIRS[7]
to_postgresql = pytest.mark.parametrize("pair", [TO_POSTGRESQL], ids=str, indirect=True)


@contextmanager
def writing(alias: str) -> Iterator[list[int]]:
    """Write one number after the other to all tags and articles, each in one transaction."""
    over, written = threading.Event(), [0]

    def write() -> None:
        while not over.is_set():
            name = f"{written[0] + 1}"
            with transaction.atomic(using=alias):
                QuerySet(Tag, using=alias).update(name=name)
                QuerySet(Article, using=alias).update(name=name)
            written[0] += 1
        connections[alias].close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield written
    finally:
        over.set()
        thread.join()


def sessions_of(alias: str) -> int:
    """Return how many sessions the database has, without this one."""
    with closing(connections[alias].copy()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        )
        return int(cursor.fetchone()[0])


@to_postgresql
def test_all_read_the_same_moment_while_the_site_writes(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(pair.source)
    heard = Heard()
    with writing(pair.source) as written:
        assert until(lambda: written[0] > 5)
        outcome = move(pair, heard, executor="two_threads", jobs=1, verify="none")
        before = written[0]
        assert until(lambda: written[0] > before)
    assert outcome.exit_code == 0
    assert heard.with_words("2 workers joined")
    for model in (Tag, Article):
        names = set(QuerySet(model, using=pair.dest).values_list("name", flat=True))
        assert len(names) == 1
    assert set(QuerySet(Tag, using=pair.dest).values_list("name", flat=True)) == names


@to_postgresql
def test_a_worker_that_comes_later_takes_no_part(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(pair.source)
    monkeypatch.setattr(pools, "joins", 1)
    heard = Heard()
    outcome = move(pair, heard, executor="joining", jobs=1, verify="full")
    assert outcome.exit_code == 0
    assert_equal(pair)
    assert heard.with_words("1 worker joined")
    assert heard.with_words("cannot take part: it did not begin the snapshot of 'mysql_a' together with the command")
    assert not heard.with_words("2 workers joined")


@to_postgresql
def test_completes_by_itself_if_no_worker_begins_in_time(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(pair.source)
    shown: list[Any] = []
    monkeypatch.setattr(enlisted_sessions, "BEGIN_SECONDS", 0.2)
    # Of workers alone: the command begins its own in another module.
    monkeypatch.setattr(mysql_engine, "begin_snapshot", lambda session: until(lambda: shown))
    outcome = batch_migrate(
        source=pair.source,
        dest=pair.dest,
        labels=LABELS,
        executor="two_threads",
        chunk_size=5,
        verify="full",
        console=Console(show=shown.append),
    )
    assert outcome.exit_code == 0
    assert_equal(pair)
    (plan,) = shown
    assert plan.request.workers == "those of executor 'two_threads' take part: 0 processes began the same snapshot"
    (finding,) = plan.request.worker_findings
    assert finding.text == "no worker began its snapshot together with the command, and none can join it later"


class Declining(Prompter):
    def __init__(self, seen: Callable[[], Any]) -> None:
        self._seen = seen

    def proceed(self, question: str) -> bool:
        self._seen()
        return False


@to_postgresql
def test_no_session_outlives_a_command_that_writes_nothing(pair: Pair) -> None:
    fill(pair.source)
    connections[pair.source].close()
    before, during = sessions_of(pair.source), []
    with pytest.raises(Declined):
        batch_migrate(
            source=pair.source,
            dest=pair.dest,
            labels=LABELS,
            executor="two_threads",
            console=Console(prompter=Declining(lambda: during.append(sessions_of(pair.source)))),
        )
    assert during[0] >= before + 3  # the command's own, and two of workers
    assert until(lambda: sessions_of(pair.source) == before)


@to_postgresql
def test_a_dry_run_invites_nobody(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(pair.source)
    delivered: list[dict[str, Any]] = []
    monkeypatch.setattr(pools, "watch", delivered.append)
    outcome = move(pair, executor="watched", jobs=1, dry_run=True)
    assert outcome.exit_code == 0
    assert delivered == []
    assert outcome.plan.request.workers.endswith("if they begin the snapshot together with the run")


@to_postgresql
def test_an_invitation_that_is_delivered_later_opens_nothing(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(pair.source)
    delivered: list[dict[str, Any]] = []
    monkeypatch.setattr(pools, "watch", delivered.append)
    assert move(pair, executor="watched", jobs=1).exit_code == 0
    invitations = [message for message in delivered if message["kind"] == "JoinMessage"]
    words = {"kind", "run", "source", "dest", "seat"}
    assert {frozenset(message) for message in invitations} == {frozenset(words)}
    assert until(lambda: sessions_of(pair.source) == 1)  # this test's own
    carry_out(invitations[0])
    assert sessions_of(pair.source) == 1


# -- the two sides --------------------------------------------------------------------------------------------------


@contextmanager
def another_engine(alias: str) -> Iterator[MySQL]:
    engine = MySQL(connections[alias].copy())
    try:
        yield engine
    finally:
        engine.close()


@to_postgresql
def test_sessions_begin_again_until_no_transaction_has_committed(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on MySQL without the right to lock it; what MariaDB lacks is played by this test."""
    fill(pair.source)
    tried = []

    def refuse(locker: Any) -> None:
        raise snapshots.Error(1227, "no privilege")

    def begin_three_times(watcher: Any, sessions: Any, enlisted: Any) -> bool:
        for number in range(3):
            with transaction.atomic(using=pair.source):
                QuerySet(Tag, using=pair.source).update(name=f"round {number}")
            snapshots._begin_all(sessions, enlisted)
            tried.append(enlisted.begun)
        enlisted.end()
        return True

    def as_mysql(engine: MySQL) -> MySQL:
        other = another(engine)
        other.connection.__dict__["mysql_is_mariadb"] = False  # Django's cached property
        return other

    another = MySQL._another
    monkeypatch.setattr(MySQL, "_another", as_mysql)
    monkeypatch.setattr(snapshots, "_lock_server", refuse)
    monkeypatch.setattr(snapshots, "_logs_commits", lambda session: True)
    monkeypatch.setattr(snapshots, "_begin_between_commits", begin_three_times)
    name = "migrator-test"
    seen: list[str] = []

    def attend() -> None:
        with another_engine(pair.source) as engine:
            if engine.begin_with_command(name, 0):
                seen.append(engine.fetch_value("SELECT name FROM testapp_tag LIMIT 1"))
                engine.join_named_snapshot(f"{name}:{engine.fetch_value('SELECT CONNECTION_ID()')}")
                seen.append("joined")

    thread = threading.Thread(target=attend)
    with another_engine(pair.source) as command:
        command.invitation = Invitation(name, 1, thread.start, lambda: None)
        command.open_source()
        thread.join(10)
        assert command.enlisted == 1
        assert command.fetch_value("SELECT name FROM testapp_tag LIMIT 1") == "round 2"
    assert [len(begun) for begun in tried] == [1, 1, 1]
    assert seen == ["round 2", "joined"]
