"""What changes after the copy arrives by its keys, of whatever type they are."""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pymysql
import pytest
from django.core.management import call_command
from django.db import connections, transaction
from django.db.models import Model

from migrator.databases.api import batch_migrate
from migrator.databases.engines.mysql.binlog_connection import connection_arguments
from migrator.databases.engines.registry import engine_for
from migrator.databases.following import changed_rows
from migrator.databases.following.follow import Follower
from migrator.databases.following.record import Followed
from migrator.databases.following.rounds import Rounds
from settings.base import database_from_url
from tests.databases.copying.test_retry import Heard
from tests.management.running import another_alias
from tests.scenarios.following.scripted import execute, followed_of
from tests.scenarios.following.scripted import follow as scripted_follow
from tests.scenarios.following.test_failures import Nurse
from tests.scenarios.following.writers import assert_equal, fill, held
from tests.servers.base import DATABASE_PREFIX
from tests.servers.databases import PAIRS, FreshDatabases, Pair
from tests.servers.mariadb import MariaDB
from tests.servers.process import run
from tests.testapp.models import (
    AutoKey,
    BigAutoKey,
    CompositeKey,
    CompositeLink,
    DateTimeKey,
    DecimalKey,
    IntegerKey,
    KeyIsPointer,
    Pointer,
    SmallAutoKey,
    TextKey,
    TreeNode,
    UniqueCode,
    UUIDKey,
)

FOLLOWED = [
    pair for pair in PAIRS if pair.engines in (("postgresql", "mysql"), ("mysql", "postgresql"), ("mysql", "mysql"))
]
FROM_MYSQL = [pair for pair in PAIRS if pair.engines == ("mysql", "postgresql")]

# By model: keys to insert, of which the first is updated, the second deleted and the third changed into the last.
KEYS: dict[type[Model], list[Any]] = {
    SmallAutoKey: [-3, 1, 32766, 32767],
    AutoKey: [-7, 1003, 2147483646, 2147483647],
    BigAutoKey: [-(2**63) + 2, 5, 2**63 - 2, 2**63 - 1],
    IntegerKey: [-(2**31), 0, 2**31 - 2, 2**31 - 1],
    UUIDKey: [
        uuid.UUID("00000000-0000-0000-0000-000000000001"),
        uuid.UUID("12345678-9abc-4def-8123-456789abcd00"),
        uuid.UUID("12345678-9abc-1def-8123-456789abcd20"),
        uuid.UUID("ffffffff-ffff-ffff-ffff-ffffffffffff"),
    ],
    TextKey: ["Ünïcode’s 🔑", 'it\'s \\ "quoted"', "", "%s ‹trailing›"],
    DateTimeKey: [
        datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        datetime(2026, 1, 2, 3, 4, 5, 999999, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 120000, tzinfo=UTC),
    ],
    DecimalKey: [Decimal("-12345.678"), Decimal("0.001"), Decimal("0.000"), Decimal("999999999.999")],
    CompositeKey: [("é", 1), ("a", -2), ("", 0), ("Ω", 2**31 - 1)],
}

OWN = "own"


def _insert(alias: str, model: type[Model], key: Any) -> None:
    parts = key if isinstance(key, tuple) else (key,)
    names = [field.attname for field in model._meta.pk_fields]
    model._base_manager.using(alias).bulk_create([model(**dict(zip(names, parts, strict=True)), label="new")])


def _change_keys(alias: str, model: type[Model], keys: list[Any]) -> None:
    rows = model._base_manager.using(alias)
    updated, deleted, old, new = keys
    with transaction.atomic(using=alias):
        for key in (updated, deleted, old):
            _insert(alias, model, key)
    with transaction.atomic(using=alias):
        rows.filter(pk=updated).update(label="updated")
        rows.filter(pk=deleted).delete()
        parts = new if isinstance(new, tuple) else (new,)
        names = [field.attname for field in model._meta.pk_fields]
        assert rows.filter(pk=old).update(**dict(zip(names, parts, strict=True))) == 1


def follow(pair: Pair, monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], None]) -> Followed:
    """Move, and execute each step after the proof, as another process would, while rounds are made."""

    def run(step: Callable[[], None]) -> None:
        try:
            step()
        finally:
            connections[pair.source].close()

    def invite(self: Follower, request: object) -> None:
        with ThreadPoolExecutor(max_workers=1) as pool:
            for step in steps:
                done = pool.submit(run, step)
                # DDL waits for the end of the snapshot.
                while not done.done():
                    self._round()
                done.result()
                self._round()

    monkeypatch.setattr(Follower, "_invite", invite)
    result = batch_migrate(source=pair.source, dest=pair.dest, follow=True, until_quiet=1)
    assert result.exit_code == 0
    assert result.followed is not None
    assert result.followed.lost_feeds == []
    return result.followed


@pytest.fixture
def never_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def compare(difference: Any, **_: Any) -> None:
        raise AssertionError(f"{difference.planned.table.name} was compared as a whole")

    monkeypatch.setattr(changed_rows, "compare_table", compare)
    return None


@pytest.mark.parametrize("pair", FOLLOWED, ids=str, indirect=True)
@pytest.mark.usefixtures("never_as_a_whole")
def test_keys_of_every_type_are_found(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(pair.source)
    UUIDKey.objects.using(pair.source).filter(id=uuid.UUID(int=1)).delete()

    def change() -> None:
        for model, keys in KEYS.items():
            _change_keys(pair.source, model, keys)

    def link() -> None:
        left = AutoKey.objects.using(pair.source).get(pk=-7)
        for right in UUIDKey.objects.using(pair.source).all()[:3]:
            CompositeLink.objects.using(pair.source).create(left=left, right=right, weight=1.5)
        KeyIsPointer.objects.using(pair.source).create(target_id="Ünïcode’s 🔑", label="one")

    def unlink() -> None:
        CompositeLink.objects.using(pair.source).all()[0].delete()
        KeyIsPointer.objects.using(pair.source).update(label="two")

    followed = follow(pair, monkeypatch, change, link, unlink)
    assert followed.rows >= 2 * len(KEYS)
    for model in (*KEYS, CompositeLink, KeyIsPointer):
        rows = held(pair.source, model)
        assert rows, model
        if model not in (DateTimeKey, DecimalKey):  # printed in another form
            assert rows == held(pair.dest, model), model
    assert DecimalKey.objects.using(pair.dest).get(pk=Decimal("-12345.678")).label == "updated"
    assert DateTimeKey.objects.using(pair.dest).count() == 2


@pytest.mark.parametrize("pair", FROM_MYSQL, ids=str, indirect=True)
def test_an_emptied_table_is_compared_as_a_whole(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(pair.source)

    def empty() -> None:
        with connections[pair.source].cursor() as cursor:
            cursor.execute("TRUNCATE TABLE testapp_compositekey")
        CompositeKey.objects.using(pair.source).create(tenant="t", number=1, label="after")

    followed = follow(pair, monkeypatch, empty)
    assert followed.updates["testapp_compositekey"].deleted == 30
    assert_equal(pair.source, pair.dest)


def _replace_key(alias: str, table: str, column: str, target: str, rule: str) -> None:
    """Have the database itself change the rows that reference others."""
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT constraint_name FROM information_schema.key_column_usage WHERE table_schema = DATABASE() "
            "AND table_name = %s AND column_name = %s AND referenced_table_name IS NOT NULL",
            [table, column],
        )
        ((name,),) = cursor.fetchall()
        cursor.execute(f"ALTER TABLE {table} DROP FOREIGN KEY {name}")
        cursor.execute(f"ALTER TABLE {table} ADD FOREIGN KEY ({column}) REFERENCES {target} {rule}")


@pytest.mark.parametrize("pair", FROM_MYSQL, ids=str, indirect=True)
def test_rows_that_foreign_keys_delete_and_change_arrive(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The binary logs of MariaDB, and of MySQL up to 9.5, lack them."""
    fill(pair.source)
    nodes, texts = TreeNode.objects.using(pair.source), TextKey.objects.using(pair.source)
    middle = nodes.create(name="middle", parent=nodes.get(name="top"))
    leaf = nodes.create(name="leaf", parent=middle)
    pointer = Pointer.objects.using(pair.source).create(to_text=texts.get(pk="key 1"))
    other = Pointer.objects.using(pair.source).create(to_text=texts.get(pk="key 2"))
    _replace_key(pair.source, "testapp_treenode", "parent_id", "testapp_treenode (id)", "ON DELETE CASCADE")
    rules = "ON DELETE SET NULL ON UPDATE CASCADE"
    _replace_key(pair.source, "testapp_pointer", "to_text_id", "testapp_textkey (code)", rules)

    def change() -> None:
        with connections[pair.source].cursor() as cursor:
            cursor.execute("DELETE FROM testapp_treenode WHERE id = %s", [middle.pk])
            cursor.execute("UPDATE testapp_textkey SET code = 'moved' WHERE code = 'key 1'")
            cursor.execute("DELETE FROM testapp_textkey WHERE code = 'key 2'")

    follow(pair, monkeypatch, change)
    assert not TreeNode.objects.using(pair.dest).filter(pk=leaf.pk).exists()
    pointers = dict(Pointer.objects.using(pair.dest).values_list("pk", "to_text_id"))
    assert pointers == {pointer.pk: "moved", other.pk: None}
    assert_equal(pair.source, pair.dest)


@pytest.mark.parametrize("pair", FOLLOWED, ids=str, indirect=True)
@pytest.mark.usefixtures("never_as_a_whole")
def test_savepoints_and_undone_transactions_cost_nothing(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(pair.source)

    def change() -> None:
        codes = UniqueCode.objects.using(pair.source)
        with transaction.atomic(using=pair.source):
            codes.create(code="kept", label="")
            with transaction.atomic(using=pair.source):
                codes.create(code="undone", label="")
                transaction.set_rollback(True, using=pair.source)
        with transaction.atomic(using=pair.source):
            codes.create(code="undone as well", label="")
            transaction.set_rollback(True, using=pair.source)

    assert follow(pair, monkeypatch, change).rows == 1
    assert_equal(pair.source, pair.dest)


def test_the_databases_are_fresh_afterwards(databases: FreshDatabases) -> None:
    """The foreign keys of the last tests are gone."""
    databases.fresh("mysql_a")
    with connections["mysql_a"].cursor() as cursor:
        cursor.execute(
            "SELECT COUNT(*) FROM information_schema.referential_constraints "
            "WHERE constraint_schema = DATABASE() AND delete_rule = 'CASCADE'"
        )
        assert cursor.fetchall()[0][0] == 0


@contextmanager
def _following_from(server: MariaDB, databases: FreshDatabases, **options: Any) -> Iterator[Pair]:
    """Start a server of its own, fill a table there, and yield the pair from it to a file."""
    if server.find() is None:
        pytest.skip("there is no MariaDB to start here")
    databases.fresh("sqlite_b")
    server.start()
    entry = database_from_url(server.address()) | {"NAME": f"{DATABASE_PREFIX}own"}
    entry["OPTIONS"] |= options
    try:
        with another_alias(OWN, **entry):
            with connections[OWN]._nodb_cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {entry['NAME']}")
            call_command("migrate", database=OWN, run_syncdb=True, interactive=False, verbosity=0)
            IntegerKey.objects.using(OWN).bulk_create([IntegerKey(number=n, label="old") for n in range(5)])
            yield Pair(OWN, "sqlite_b")
            connections[OWN].close()
    finally:
        server.stop()


@pytest.mark.slow
def test_a_server_that_crashes_and_comes_back(databases: FreshDatabases) -> None:
    """It may have lost transactions that are in its log, or the other way round."""
    server = MariaDB()
    nurse = Nurse(server)
    with _following_from(server, databases) as pair:

        def crash() -> None:
            execute(pair.source, "UPDATE testapp_integerkey SET label = 'before' WHERE number = 1")
            server.crash()

        change = partial(execute, pair.source, "UPDATE testapp_integerkey SET label = 'after' WHERE number = 2")
        found = followed_of(scripted_follow(pair, ["testapp.IntegerKey"], crash, change, heard=nurse))
        assert nurse.has_helped
        assert len(found.lost_feeds) == 1
        assert held(pair.source, IntegerKey) == held("sqlite_b", IntegerKey)
        assert ("2", "after") in held("sqlite_b", IntegerKey)


class EncryptingMariaDB(MariaDB):
    """Accepts encrypted connections only; its certificate names the address that it listens on."""

    def prepare(self) -> None:
        new = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost")
        files = ("-keyout", self.directory / "key.pem", "-out", self.certificate)
        run([*new, "-addext", "subjectAltName=IP:127.0.0.1", *files], self.directory, self.user)
        super().prepare()

    @property
    def certificate(self) -> Path:
        return self.directory / "certificate.pem"

    def command(self) -> list[str | Path]:
        names = ("ssl-cert", "ssl-ca"), (self.certificate, self.certificate)
        files = [f"--{name}={path}" for name, path in zip(*names, strict=True)]
        return [*super().command(), *files, f"--ssl-key={self.directory / 'key.pem'}", "--require-secure-transport=ON"]


@pytest.mark.slow
def test_the_log_is_read_over_an_encrypted_connection_with_its_certificate_checked(
    databases: FreshDatabases, tmp_path: Path
) -> None:
    server = EncryptingMariaDB()
    with _following_from(server, databases, ssl={"ca": str(server.certificate)}) as pair:
        with closing(engine_for(connections[pair.source])) as engine:
            arguments = connection_arguments(engine)
            with closing(pymysql.connect(**arguments)) as connection, connection.cursor() as cursor:
                cursor.execute("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
                assert cursor.fetchone()[1]
        assert (arguments["ssl"].verify_mode, arguments["ssl"].check_hostname) == (ssl.CERT_REQUIRED, False)
        change = partial(execute, pair.source, "UPDATE testapp_integerkey SET label = 'after' WHERE number = 2")
        found = followed_of(scripted_follow(pair, ["testapp.IntegerKey"], change))
        assert (found.rows, found.lost_feeds) == (1, [])
        assert ("2", "after") in held("sqlite_b", IntegerKey)


@pytest.mark.parametrize("pair", FROM_MYSQL, ids=str, indirect=True)
def test_a_table_that_is_emptied_after_the_snapshot_has_the_round_made_again(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot cannot be read any longer (ER_TABLE_DEF_CHANGED)."""
    fill(pair.source)
    look = Rounds._look
    is_due: list[bool] = []

    def look_and_empty(self: Rounds) -> Any:
        found = look(self)
        if is_due:
            is_due.clear()
            execute(pair.source, "TRUNCATE TABLE testapp_compositekey")
        return found

    def change() -> None:
        execute(pair.source, "UPDATE testapp_compositekey SET label = 'changed' WHERE number = 1")
        is_due.append(True)

    monkeypatch.setattr(Rounds, "_look", look_and_empty)
    heard = Heard()
    found = followed_of(scripted_follow(pair, ["testapp.CompositeKey"], change, heard=heard))
    assert not is_due
    assert any("Table definition has changed" in text for text in heard.messages)
    assert found.updates["testapp_compositekey"].deleted == 30
    assert held(pair.dest, CompositeKey) == []
