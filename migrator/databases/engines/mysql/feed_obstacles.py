"""MySQL and MariaDB: what keeps changes from being followed, and the statement that allows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from importlib.util import find_spec

from django.db import DatabaseError

from ....console.wording import shortened
from ...findings import Finding
from ..base.change_feed import FeedLost
from ..base.engine import Engine
from ..base.session import cause_of
from .binlog_connection import NotCarriedOver, connect, free_server_id
from .binlog_events import Position
from .snapshots import NO_PRIVILEGE

EXTRA = "pip install 'django-bulk-migrator[follow-mysql]'"
LOG_ADVICE = (
    "Add log_bin = binlog and server_id = 1 to [mysqld] in the server's option file, and restart it. On Amazon RDS, "
    "switch automated backups on, and execute CALL mysql.rds_set_configuration('binlog retention hours', 24);"
)
GTID_ADVICE = (
    "Execute SET GLOBAL enforce_gtid_consistency = ON; then SET GLOBAL gtid_mode = OFF_PERMISSIVE; then SET GLOBAL "
    "gtid_mode = ON_PERMISSIVE; then SET GLOBAL gtid_mode = ON; and set both in the server's option file. That needs "
    "no restart. With replicas, read “Enabling GTID Transactions Online” in the MySQL manual first."
)
NO_LOGIN = 1045  # ER_ACCESS_DENIED_ERROR (MySQL Server Error Message Reference)
NAMES = (
    "log_bin", "binlog_format", "gtid_mode", "log_bin_compress", "binlog_transaction_compression",
    "log_slave_updates", "wsrep_on",
)  # fmt: skip


def obstacles(session: Engine) -> Iterator[Finding]:
    """Yield what keeps the feed of a source from being opened, and what allows it."""
    found = list(_of_settings(session))
    yield from found
    if not _is_installed():
        yield Finding(session.alias, "the library that reads its changes is not installed", f"Execute {EXTRA}.")
    elif not any(finding.stops for finding in found):
        yield from _of_rights(session)


def _is_installed() -> bool:
    return find_spec("pymysqlreplication") is not None


def _of_settings(session: Engine) -> Iterator[Finding]:
    marks = ", ".join(f"'{name}'" for name in NAMES)
    found: Mapping[str, str] = dict(session.fetch_all(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({marks})"))
    if found.get("log_bin") != "ON":
        yield Finding(session.alias, "it has no binary log (log_bin is OFF), which --follow reads", LOG_ADVICE)
        return
    if found.get("binlog_format", "ROW") != "ROW":
        yield Finding(
            session.alias,
            f"binlog_format is {found['binlog_format']}, and --follow needs ROW",
            "Execute SET GLOBAL binlog_format = 'ROW'; set it in the server's option file, and restart everything that "
            "writes, because sessions keep the format that they began with.",
        )
    if found.get("gtid_mode", "ON") != "ON":
        yield Finding(
            session.alias,
            f"gtid_mode is {found['gtid_mode']}, so it is unknown which transactions a snapshot sees",
            GTID_ADVICE,
        )
    for name in ("log_bin_compress", "binlog_transaction_compression"):
        if found.get(name) == "ON":
            yield Finding(
                session.alias,
                f"its binary log is compressed ({name} is ON), and cannot be read",
                f"Execute SET GLOBAL {name} = OFF; and restart everything that writes.",
            )
    if found.get("log_slave_updates") == "OFF" and (found.get("wsrep_on") == "ON" or _replicates(session)):
        yield Finding(
            session.alias,
            "it does not log what it replicates from another server (log_slave_updates is OFF)",
            "Name the primary in DATABASES, or add log_slave_updates = ON to the server's option file and restart it.",
        )


def _replicates(session: Engine) -> bool:
    running = session.fetch_all("SHOW GLOBAL STATUS LIKE 'Slaves_running'")
    return bool(running and int(running[0][1]))


def _of_rights(session: Engine) -> Iterator[Finding]:
    """Yield what shows only when the log is asked for: missing privileges, filters, and connections that fail."""
    is_mariadb: bool = session.connection.mysql_is_mariadb  # type: ignore[attr-defined]
    try:
        (status,) = session.fetch_all("SHOW MASTER STATUS" if is_mariadb else "SHOW BINARY LOG STATUS")
    except DatabaseError as error:
        if _code(cause_of(error)) not in NO_PRIVILEGE:
            raise
        yield _lacks_privileges(session, is_mariadb=is_mariadb)
        return
    file, offset, only, ignored = status[:4]
    yield from _of_filters(session, str(only), str(ignored))
    yield from _of_connection(session, str(file), int(offset), is_mariadb=is_mariadb)


def _of_filters(session: Engine, only: str, ignored: str) -> Iterator[Finding]:
    database = str(session.fetch_value("SELECT DATABASE()"))
    for option, names, is_filtered in (
        ("binlog_do_db", only, bool(only) and database not in only.split(",")),
        ("binlog_ignore_db", ignored, database in ignored.split(",")),
    ):
        if is_filtered:
            yield Finding(
                session.alias,
                f"its binary log leaves out the database {database!r} ({option} is {shortened(names.split(','), 3)})",
                f"Remove {option} from the server's option file, and restart it.",
            )


def _of_connection(session: Engine, file: str, offset: int, *, is_mariadb: bool) -> Iterator[Finding]:
    """Try to read the log, as the feed does."""
    from .binlog_reader import BinlogReader  # needs the optional library

    reader = BinlogReader(partial(connect, session), free_server_id(session), (), Position.of(file, offset))
    try:
        next(reader.read(), None)
    except FeedLost as error:
        cause = cause_of(error)
        if _code(cause) in NO_PRIVILEGE and _code(cause) != NO_LOGIN:
            yield _lacks_privileges(session, is_mariadb=is_mariadb)
        elif isinstance(cause, NotCarriedOver):
            yield Finding(
                session.alias,
                f"its changes are read over another connection, and for that, {cause}, which cannot be carried over",
                "Add an alias to DATABASES that does without, and name it as the source.",
            )
        elif isinstance(cause, RuntimeError):  # so PyMySQL asks for the library (its source, _auth.py)
            yield Finding(
                session.alias,
                "its changes are read over another connection, made by PyMySQL, which needs the library cryptography "
                "for this user's way to log in",
                "Execute pip install cryptography, or encrypt the connection by ssl_mode in its OPTIONS.",
            )
        else:
            yield Finding(
                session.alias,
                f"its changes are read over another connection, made by PyMySQL, and that failed: {error}",
                "Let this user log in in another way, or with another certificate, or move without --follow.",
            )


def _lacks_privileges(session: Engine, *, is_mariadb: bool) -> Finding:
    user, _, host = str(session.fetch_value("SELECT CURRENT_USER()")).rpartition("@")
    monitor = "BINLOG MONITOR" if is_mariadb else "REPLICATION CLIENT"
    return Finding(
        session.alias,
        f"its user {user!r} may not read the binary log",
        f"Execute GRANT REPLICATION SLAVE, {monitor} ON *.* TO {_quoted(user)}@{_quoted(host)};",
    )


def _quoted(name: str) -> str:
    return "'" + name.replace("\\", "\\\\").replace("'", "''") + "'"


def _code(error: BaseException) -> object:
    return error.args[0] if error.args else None
