"""What each of a server's codes leads to: another try, a search for the row, or an end at once.

The server itself raises them, from a trigger: most could not be brought about one by one.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections

from migrator.databases.api import Console, batch_migrate
from migrator.errors import DataRejected, MigratorError
from tests.databases.copying.test_retry import Heard, execute
from tests.databases.snapshots import differences, insert_rows, snapshot
from tests.scenarios.faults.oracle import TO_SERVERS, assert_says_how_to_go_on
from tests.servers.databases import Pair
from tests.testapp.models import Tag

pytestmark = pytest.mark.driver

RETRIED = {
    # serialization, deadlock, lock timeout, shutdowns, starting up, too many connections, links
    "postgresql": ["40001", "40P01", "55P03", "57P01", "57P02", "57P03", "53300", "08000", "08006", "08007"],
    # record changed, connections, shutdown, network, lock timeout, deadlock, killed, idle for too long
    "mysql": [1020, 1040, 1053, 1158, 1159, 1160, 1161, 1203, 1205, 1213, 1927, 4031],
}
ENDS = {
    # disk, memory, syntax and rights, a missing table, password, read-only, cancelled, an error within
    "postgresql": ["53100", "53200", "42501", "42P01", "28P01", "25006", "57014", "XX000"],
    # table full, disk full, rights, a missing table, read-only, changed definition, packet, cancelled
    "mysql": [1114, 1021, 1142, 1146, 1290, 1412, 1153, 1317],
}
SEARCHED = {
    # too long, out of range, encoding, unique, not null, check, too long for an index
    "postgresql": ["22001", "22003", "22021", "23505", "23502", "23514", "54000"],
    # too long, out of range, wrong value, unique, null, check, JSON: levels, in an index, division, a trigger's own
    "mysql": [1406, 1264, 1366, 1062, 1048, 4025, 3157, 3903, 1365, 1644],
}
ROWS, BAD = 20, 8
# {engine: what raises the code that the table `provoked` has for a row, each time or the first time; no rollback undoes
# that a number was given. In MySQL all rows share the numbers, so such rows have to be tried twice, one after another}
PROVOKING = {
    "postgresql": (
        "CREATE TABLE provoked (id integer, code text, once boolean)",
        *(f"CREATE SEQUENCE tries_{number}" for number in range(1, ROWS + 1)),
        """
        CREATE FUNCTION provoke() RETURNS trigger LANGUAGE plpgsql AS $$
            DECLARE found_code text; is_once boolean;
            BEGIN
                SELECT code, once INTO found_code, is_once FROM provoked WHERE id = NEW.id;
                IF FOUND AND (NOT is_once OR nextval('tries_' || NEW.id) = 1) THEN
                    RAISE EXCEPTION 'provoked' USING ERRCODE = found_code;
                END IF;
                RETURN NEW;
            END $$
        """,
        "CREATE TRIGGER provoke BEFORE INSERT ON testapp_tag FOR EACH ROW EXECUTE FUNCTION provoke()",
    ),
    "mysql": (
        "CREATE TABLE provoked (id integer, code integer, once boolean)",
        "CREATE TABLE tries (number integer AUTO_INCREMENT PRIMARY KEY)",
        """
        CREATE TRIGGER provoke BEFORE INSERT ON testapp_tag FOR EACH ROW
        BEGIN
            DECLARE found_code integer DEFAULT (SELECT code FROM provoked WHERE id = NEW.id);
            DECLARE is_once boolean DEFAULT (SELECT once FROM provoked WHERE id = NEW.id);
            IF is_once THEN
                INSERT INTO tries VALUES (NULL);
            END IF;
            IF found_code IS NOT NULL AND (NOT is_once OR MOD(LAST_INSERT_ID(), 2) = 1) THEN
                SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = found_code, MESSAGE_TEXT = 'provoked';
            END IF;
        END
        """,
    ),
}


@pytest.fixture
def provoking(pair: Pair) -> Pair:
    """Fill the source, and let the destination raise what `provoke` says."""
    insert_rows(Tag, pair.source, [{"id": number, "name": f"tag {number}"} for number in range(1, ROWS + 1)])
    execute(pair.dest, *PROVOKING[pair.engines[1]])
    return pair


def provoke(pair: Pair, number: int, code: object, *, once: bool) -> None:
    execute(
        pair.dest,
        f"DELETE FROM provoked WHERE id = {number}",
        f"INSERT INTO provoked VALUES ({number}, '{code}', {once})",
    )
    connections[pair.dest].close()


def move(pair: Pair, heard: Heard, **options: Any) -> int:
    usual = {"labels": ["testapp.Tag"], "chunk_size": 5, "keep_triggers": True, "console": Console(progress=heard)}
    arguments = usual | options
    return batch_migrate(source=pair.source, dest=pair.dest, **arguments).exit_code


def retries(heard: Heard) -> list[str]:
    return [text for text in heard.messages if "provoked; trying again in 0.2 s" in text]


def assert_equal(pair: Pair) -> None:
    assert differences(snapshot(pair.source, [Tag]), snapshot(pair.dest, [Tag])) == []


to_servers = pytest.mark.parametrize("pair", TO_SERVERS, ids=str, indirect=True)


@to_servers
def test_what_passes_is_tried_again(provoking: Pair) -> None:
    codes, heard = RETRIED[provoking.engines[1]], Heard()
    for number, code in enumerate(codes, start=1):
        provoke(provoking, number, code, once=True)
    assert move(provoking, heard, chunk_size=1) == 0
    assert len(retries(heard)) == len(codes)
    assert_equal(provoking)


@to_servers
def test_what_needs_a_person_ends_the_run(provoking: Pair) -> None:
    """One after the other, each met by the run that goes on."""
    heard = Heard()
    for number, code in enumerate(ENDS[provoking.engines[1]]):
        provoke(provoking, BAD, code, once=False)
        with pytest.raises(MigratorError) as caught:
            move(provoking, heard, resume=number > 0)
        assert not isinstance(caught.value, DataRejected), code
        assert f"{provoking.dest!r} stopped the run: provoked [{code}]." in str(caught.value)
        assert_says_how_to_go_on(str(caught.value))
    assert retries(heard) == []
    execute(provoking.dest, "DELETE FROM provoked")
    assert move(provoking, heard, resume=True) == 0
    assert_equal(provoking)


@to_servers
def test_what_a_row_is_the_cause_of_names_it(provoking: Pair) -> None:
    heard = Heard()
    for number, code in enumerate(SEARCHED[provoking.engines[1]]):
        provoke(provoking, BAD, code, once=False)
        with pytest.raises(DataRejected, match=f"testapp.Tag with primary key {BAD}[:,]") as caught:
            move(provoking, heard, resume=number > 0)
        assert f"[{code}]" in str(caught.value)
        assert_says_how_to_go_on(str(caught.value))
    assert retries(heard) == []
    execute(provoking.dest, "DELETE FROM provoked")
    assert move(provoking, heard, resume=True) == 0
    assert_equal(provoking)
