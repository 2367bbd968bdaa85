"""What keeps changes of MariaDB and MySQL from being followed, and how their log is connected to."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from migrator.databases.engines.mysql import binlog_connection, feed_obstacles
from migrator.databases.engines.mysql.binlog_connection import NotCarriedOver, connection_arguments
from migrator.databases.engines.mysql.engine import MySQL
from tests.servers.base import PASSWORD
from tests.servers.catalogue import OWN
from tests.servers.databases import FreshDatabases, is_mysql
from tests.servers.mysql import LOCKING_USER
from tests.servers.mysql import MySQL as MySQLServer

pytestmark = pytest.mark.mysql

ALIAS = "mysql_a"


@pytest.fixture
def source(databases: FreshDatabases) -> Iterator[MySQL]:
    databases.fresh(ALIAS)
    with closing(_with_options()) as engine:
        yield engine


def _with_options(user: str | None = None, **options: Any) -> MySQL:
    connection = connections[ALIAS].copy()
    connection.settings_dict["OPTIONS"] = {**connection.settings_dict["OPTIONS"], **options}
    connection.settings_dict["USER"] = user or connection.settings_dict["USER"]
    engine = MySQL(connection)
    engine._open()
    return engine


def found(engine: MySQL) -> list[str]:
    return [str(finding) for finding in engine.feed_obstacles()]


def test_a_server_with_all_that_it_needs_has_none(source: MySQL) -> None:
    assert found(source) == []


def test_names_the_statement_that_gives_the_privileges(databases: FreshDatabases) -> None:
    if MySQLServer.variable not in os.environ.get(OWN, ""):
        pytest.skip("only a server that was started for the tests has that user")
    databases.fresh(ALIAS)
    monitor = "REPLICATION CLIENT" if is_mysql(ALIAS) else "BINLOG MONITOR"
    with closing(_with_options(user=LOCKING_USER)) as engine:
        assert found(engine) == [
            f"mysql_a: its user '{LOCKING_USER}' may not read the binary log. Execute GRANT REPLICATION SLAVE, "
            f"{monitor} ON *.* TO '{LOCKING_USER}'@'127.0.0.1';"
        ]


def test_names_the_extra_that_is_not_installed(source: MySQL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_obstacles, "find_spec", lambda name: None)
    assert found(source) == [
        "mysql_a: the library that reads its changes is not installed. Execute pip install "
        "'django-bulk-migrator[follow-mysql]'."
    ]


@pytest.mark.parametrize(
    ("variables", "text", "advice"),
    [
        ({"log_bin": "OFF"}, "it has no binary log (log_bin is OFF)", "mysql.rds_set_configuration('binlog retention"),
        ({"binlog_format": "MIXED"}, "binlog_format is MIXED", "SET GLOBAL binlog_format = 'ROW';"),
        ({"gtid_mode": "OFF"}, "gtid_mode is OFF", "SET GLOBAL gtid_mode = ON;"),
        ({"log_bin_compress": "ON"}, "(log_bin_compress is ON)", "SET GLOBAL log_bin_compress = OFF;"),
        (
            {"binlog_transaction_compression": "ON"},
            "(binlog_transaction_compression is ON)",
            "SET GLOBAL binlog_transaction_compression = OFF;",
        ),
        ({"wsrep_on": "ON", "log_slave_updates": "OFF"}, "(log_slave_updates is OFF)", "log_slave_updates = ON"),
    ],
)
def test_names_the_setting_and_what_changes_it(
    source: MySQL, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], text: str, advice: str
) -> None:
    fetch_all = MySQL.fetch_all

    def changed(self: MySQL, sql: str, *args: Any) -> list[Any]:
        rows = fetch_all(self, sql, *args)
        return list({**dict(rows), **variables}.items()) if sql.startswith("SHOW GLOBAL VARIABLES") else rows

    monkeypatch.setattr(MySQL, "fetch_all", changed)
    (finding,) = source.feed_obstacles()
    assert finding.stops
    assert text in finding.text
    assert advice in finding.advice


@pytest.mark.parametrize(
    ("only", "ignored", "option"), [("other,more", "", "binlog_do_db"), ("", "x,{own}", "binlog_ignore_db")]
)
def test_names_a_filter_that_leaves_the_database_out(source: MySQL, only: str, ignored: str, option: str) -> None:
    own = str(source.fetch_value("SELECT DATABASE()"))
    (finding,) = feed_obstacles._of_filters(source, only.format(own=own), ignored.format(own=own))
    assert f"leaves out the database {own!r} ({option} is" in finding.text
    assert list(feed_obstacles._of_filters(source, own, "other")) == []


# -- the connection ---------------------------------------------------------------------------------------------------


def test_an_option_that_means_nothing_to_it_is_named(source: MySQL, monkeypatch: pytest.MonkeyPatch) -> None:
    given = source.connection.get_connection_params()
    monkeypatch.setattr(source.connection, "get_connection_params", lambda: {**given, "auth_plugin": PASSWORD})
    assert found(source) == [
        "mysql_a: its changes are read over another connection, and for that, OPTIONS has 'auth_plugin', which cannot "
        "be carried over. Add an alias to DATABASES that does without, and name it as the source."
    ]


def test_a_connection_that_fails_is_explained_without_the_password(
    source: MySQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = source.connection.get_connection_params()
    monkeypatch.setattr(source.connection, "get_connection_params", lambda: {**given, "password": f"{PASSWORD}-wrong"})
    (text,) = found(source)
    if not is_mysql(ALIAS):  # its way to log in needs a library, or a connection that is encrypted
        assert "made by PyMySQL, and that failed: the connection that reads changes failed (error 1045)" in text
    assert "made by PyMySQL" in text
    assert PASSWORD not in text


def test_names_the_library_that_a_way_to_log_in_needs(source: MySQL, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(**_: Any) -> None:
        raise RuntimeError("'cryptography' package is required for sha256_password")

    monkeypatch.setattr("pymysql.connect", connect)
    (text,) = found(source)
    assert "Execute pip install cryptography, or encrypt the connection" in text


def test_takes_what_an_option_file_says(source: MySQL, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = source.connection.get_connection_params()
    file = tmp_path / "my.cnf"
    file.write_text(
        "# the shop's\n[mysqld]\nsocket = /nowhere\n[client]\nuser = somebody # of the shop\n"
        f'password = "{PASSWORD}#1"\nport=3333\ndefault-character-set = latin1\n[shop]\nuser = shop\n'
    )
    kept = {name: given[name] for name in ("host", "conv")}
    kept |= {"read_default_file": str(file), "read_default_group": "shop"}
    monkeypatch.setattr(source.connection, "get_connection_params", lambda: kept)
    arguments = connection_arguments(source)
    assert {name: arguments[name] for name in ("user", "password", "host", "port", "charset")} == {
        "user": "shop",
        "password": f"{PASSWORD}#1".encode(),
        "host": "127.0.0.1",
        "port": 3333,
        "charset": "utf8mb4",
    }
    with file.open("a") as more:
        more.write("[client]\ndefault-auth = mysql_clear_password\n")
    with pytest.raises(NotCarriedOver, match="the file that 'read_default_file' in OPTIONS names has 'default-auth'"):
        connection_arguments(source)
    file.write_text(f"password = {PASSWORD}")
    with pytest.raises(NotCarriedOver, match="could not be read") as raised:
        connection_arguments(source)
    assert PASSWORD not in str(raised.value)


@pytest.mark.parametrize(
    ("mode", "authority", "verifies", "names_host"),
    [
        ("", False, False, False),
        ("REQUIRED", False, False, False),
        ("", True, True, False),
        ("VERIFY_CA", True, True, False),
        ("VERIFY_IDENTITY", True, True, True),
        ("VERIFY_IDENTITY", False, True, True),
    ],
)
def test_checks_the_certificate_as_the_settings_demand(
    source: MySQL, monkeypatch: pytest.MonkeyPatch, *, mode: str, authority: bool, verifies: bool, names_host: bool
) -> None:
    given = source.connection.get_connection_params()
    file = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    if authority and not Path(file).exists():
        pytest.skip("no file of authorities is here")
    given |= {"ssl_mode": mode} | ({"ssl": {"ca": file}} if authority else {})
    monkeypatch.setattr(source.connection, "get_connection_params", lambda: given)
    monkeypatch.setattr(binlog_connection, "_is_encrypted", lambda session: True)
    context = connection_arguments(source)["ssl"]
    assert (context.verify_mode is ssl.CERT_REQUIRED, context.check_hostname) == (verifies, names_host)


def test_is_encrypted_if_and_only_if_the_other_connection_is(source: MySQL, monkeypatch: pytest.MonkeyPatch) -> None:
    for is_encrypted in (True, False):
        monkeypatch.setattr(binlog_connection, "_is_encrypted", lambda session, e=is_encrypted: e)
        arguments = connection_arguments(source)
        assert ("ssl" in arguments, arguments.get("ssl_disabled", False)) == (is_encrypted, not is_encrypted)
