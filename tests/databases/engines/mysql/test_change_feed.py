"""What the binary logs of MariaDB and MySQL contain, and what the feed reports of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from django.db import connections

from migrator.databases.engines.base.change_feed import Change, FeedLost
from migrator.databases.engines.mysql.binlog_events import LoggedStatement, Position
from migrator.databases.engines.mysql.change_feed import BinlogFeed
from migrator.databases.engines.mysql.engine import MySQL
from migrator.databases.planning.selection import select
from migrator.databases.tables import Table
from tests.servers.databases import FreshDatabases, is_mysql
from tests.testapp.models import CompositeKey, TextKey, UniqueCode

pytestmark = pytest.mark.mysql

ALIAS = "mysql_a"
LABELS = ["testapp.TextKey", "testapp.CompositeKey", "testapp.UniqueCode"]
WHOLE = {(f"testapp_{name}", None, False) for name in ("textkey", "compositekey", "uniquecode")}


def tables(*labels: str) -> list[Table]:
    return list(select(source=ALIAS, dest="default", labels=labels, exclude=()).tables)


@pytest.fixture
def source(databases: FreshDatabases) -> Iterator[MySQL]:
    databases.fresh(ALIAS)
    connections[ALIAS].close()
    with closing(MySQL(connections[ALIAS].copy())) as engine:
        engine.open_source()
        yield engine


@pytest.fixture
def feed(source: MySQL) -> Iterator[Any]:
    with closing(source.open_change_feed(tables(*LABELS), lambda: None)) as feed:
        yield feed


def look(feed: BinlogFeed, source: MySQL) -> tuple[list[Change], Any]:
    """Begin a snapshot, and return what is reported, and how it is seen."""
    feed.expect_snapshot()
    source.renew_snapshot([])
    moment = feed.moment(str(source.fetch_value(feed.snapshot_query)) if feed.snapshot_query else "")
    feed.check(source)
    return list(feed.read()), moment


def execute(*statements: str) -> None:
    with connections[ALIAS].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def reported(feed: BinlogFeed, source: MySQL) -> set[tuple[str, Any, bool]]:
    return {(change.table, change.key, change.removes) for change in look(feed, source)[0]}


def test_tells_each_change_once_and_sees_it(feed: BinlogFeed, source: MySQL) -> None:
    TextKey.objects.using(ALIAS).create(code="a", label="")
    first, moment = look(feed, source)
    assert [(change.table, change.key) for change in first] == [("testapp_textkey", ("a",))]
    assert moment.sees(first[0].transaction)
    assert feed.settled(first[0].transaction)
    TextKey.objects.using(ALIAS).filter(code="a").delete()
    second, _ = look(feed, source)
    assert second == [Change("testapp_textkey", ("a",), second[0].transaction, removes=True)]
    assert second[0].transaction > first[0].transaction
    assert look(feed, source)[0] == []


def test_a_snapshot_does_not_see_what_is_committed_after_it(feed: BinlogFeed, source: MySQL) -> None:
    feed.expect_snapshot()
    source.renew_snapshot([])
    TextKey.objects.using(ALIAS).create(code="later", label="")
    moment = feed.moment(str(source.fetch_value(feed.snapshot_query)) if feed.snapshot_query else "")
    (change,) = feed.read()
    assert not moment.sees(change.transaction)
    # MySQL's snapshots do not tell; the key is then used now, and once more.
    assert moment.may_see(change.transaction) is is_mysql(ALIAS)
    assert source.fetch_value("SELECT COUNT(*) FROM testapp_textkey") == 0
    _, later = look(feed, source)
    assert later.sees(change.transaction)


def test_a_changed_key_is_told_before_and_after(feed: BinlogFeed, source: MySQL) -> None:
    CompositeKey.objects.using(ALIAS).create(tenant="é", number=-1, label="")
    CompositeKey.objects.using(ALIAS).update(tenant="É")
    assert reported(feed, source) == {
        ("testapp_compositekey", ("é", "-1"), False),
        ("testapp_compositekey", ("é", "-1"), True),
        ("testapp_compositekey", ("É", "-1"), False),
    }


def test_tables_of_others_are_not_told(feed: BinlogFeed, source: MySQL) -> None:
    execute("INSERT INTO testapp_autokey (label) VALUES ('not followed')")
    execute("CREATE TABLE testapp_new (id INT PRIMARY KEY)", "INSERT INTO testapp_new VALUES (1)")
    assert reported(feed, source) == set()


@pytest.mark.parametrize(
    "statement",
    ["TRUNCATE TABLE testapp_compositekey", "/* why */ ALTER TABLE testapp_CompositeKey ADD COLUMN more INT"],
)
def test_a_table_that_is_named_in_a_definition_may_have_changed(
    feed: BinlogFeed, source: MySQL, statement: str
) -> None:
    # Its name is found in whatever case it has.
    if is_mysql(ALIAS) or "Composite" in statement:
        statement = statement.replace("CompositeKey", "compositekey")
    source.close()
    execute(statement)
    source.open_source()
    assert reported(feed, source) == {("testapp_compositekey", None, False)}


def test_any_row_may_have_changed_after_a_statement_that_is_logged_as_such(
    feed: BinlogFeed, source: MySQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = str(source.fetch_value("SELECT DATABASE()"))
    statements = {
        "UPDATE testapp_textkey SET label = ''": (database, WHOLE),
        "CALL anything()": (database, WHOLE),
        "ANALYZE TABLE testapp_textkey": (database, set()),
        "DELETE FROM other": ("other", set()),
        f"DELETE FROM {database}.testapp_textkey": ("other", WHOLE),
    }
    for text, (schema, expected) in statements.items():
        monkeypatch.setattr(feed._reader, "read", lambda t=text, s=schema: iter([LoggedStatement(1, None, s, t)]))
        assert {(change.table, change.key, change.removes) for change in feed.read()} == expected, text


def test_transactions_of_two_phases_count_when_they_are_committed(feed: BinlogFeed, source: MySQL) -> None:
    """Their rows are in the log where they were prepared, which no snapshot sees."""
    execute("XA START 'migrator'", "INSERT INTO testapp_textkey VALUES ('xa', '')", "XA END 'migrator'")
    execute("XA PREPARE 'migrator'")
    try:
        assert reported(feed, source) == {("testapp_textkey", ("xa",), True)}
    finally:
        execute("XA COMMIT 'migrator'")
    assert reported(feed, source) == WHOLE
    assert source.fetch_value("SELECT COUNT(*) FROM testapp_textkey") == 1


def test_nothing_of_it_stays_on_the_server(feed: BinlogFeed, source: MySQL) -> None:
    UniqueCode.objects.using(ALIAS).create(code="a", label="")
    assert reported(feed, source)
    commands = [row[4] for row in source.fetch_all("SHOW PROCESSLIST")]
    assert not [command for command in commands if str(command).startswith("Binlog Dump")]


# -- when changes may be missing --------------------------------------------------------------------------------------


def test_is_lost_if_the_log_was_purged(feed: BinlogFeed, source: MySQL) -> None:
    feed._reader.position = Position.of("binlog.000000", 4)
    with pytest.raises(FeedLost, match=r"^the server no longer has its binary log from binlog.000000"):
        look(feed, source)


def test_is_lost_if_a_file_of_the_log_is_another_one(feed: BinlogFeed, source: MySQL) -> None:
    look(feed, source)
    file, created = feed._reader._created or ("", 0)
    feed._reader._created = file, created - 1
    with pytest.raises(FeedLost, match="began another binary log"):
        look(feed, source)


def test_is_lost_after_a_restart(feed: BinlogFeed, source: MySQL) -> None:
    feed._uptime += 3600
    with pytest.raises(FeedLost, match="the server was restarted"):
        feed.check(source)


def test_is_lost_on_another_server(feed: BinlogFeed, source: MySQL) -> None:
    feed._identity = (("server_id", "77"),)
    with pytest.raises(FeedLost, match="another server"):
        list(feed.read())
    with pytest.raises(FeedLost, match="another identity"):
        feed.check(source)


def test_is_lost_with_its_session(feed: BinlogFeed, source: MySQL) -> None:
    execute(f"KILL {feed._session.fetch_value('SELECT CONNECTION_ID()')}")
    with pytest.raises(FeedLost, match=r"^the session that reads changes failed \(OperationalError\)$"):
        look(feed, source)


def test_every_model_of_the_tests_can_be_followed(databases: FreshDatabases) -> None:
    """No table is left to comparisons as a whole."""
    databases.fresh(ALIAS)
    with closing(MySQL(connections[ALIAS].copy())) as engine:
        engine.open_source()
        with closing(engine.open_change_feed(tables(), lambda: None)) as feed:
            assert feed.unreported == frozenset()
