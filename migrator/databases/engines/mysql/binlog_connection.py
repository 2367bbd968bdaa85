"""MySQL and MariaDB: the connection that reads the binary log, made by PyMySQL from the settings for mysqlclient."""

from __future__ import annotations

import configparser
import contextlib
import random
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from ..base.engine import Engine

# By the name of mysqlclient: what a connection that reads changes takes from the settings.
CARRIED = {
    "user": "user",
    "password": "password",
    "passwd": "password",
    "host": "host",
    "port": "port",
    "unix_socket": "unix_socket",
    "connect_timeout": "connect_timeout",
    "ssl": "ssl",
    "ssl_mode": "ssl_mode",
}
# What it can do without: it runs no statements of the project, and sends no rows.
NOT_NEEDED = frozenset(
    (
        "autocommit", "binary_prefix", "charset", "client_flag", "collation", "compress", "conv", "cursorclass",
        "database", "db", "init_command", "local_infile", "max_allowed_packet", "multi_statements",
        "read_default_file", "read_default_group", "read_timeout", "sql_mode", "use_unicode", "write_timeout",
    )
)  # fmt: skip
# The same of option files (MySQL manual, "Using Option Files").
CARRIED_FROM_FILES = {
    "user": "user",
    "password": "password",
    "host": "host",
    "port": "port",
    "socket": "unix_socket",
    "connect-timeout": "connect_timeout",
    "ssl-mode": "ssl_mode",
}
TLS_FILES = {"ssl-ca": "ca", "ssl-capath": "capath", "ssl-cert": "cert", "ssl-key": "key", "ssl-cipher": "cipher"}
NOT_NEEDED_FROM_FILES = frozenset(
    ("character-sets-dir", "compress", "database", "default-character-set", "init-command", "local-infile",
     "max-allowed-packet", "no-auto-rehash", "prompt")
)  # fmt: skip
GROUPS = ("client", "client-server", "client-mariadb")
ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "r": "\r", "s": " "}
TLS_KEYS = frozenset(("ca", "capath", "cert", "key", "cipher"))


class NotCarriedOver(Exception):
    """A setting of the database means nothing to the connection that reads changes; the message names it."""


def connect(session: Engine, cursors: Any = None) -> Any:
    """Connect to the server of ``session`` by PyMySQL; ``cursors`` is the class of its cursors.

    Raises :exc:`NotCarriedOver`.
    """
    import pymysql

    return pymysql.connect(
        **connection_arguments(session), autocommit=True, cursorclass=cursors or pymysql.cursors.Cursor
    )


def free_server_id(session: Engine) -> int:
    """Return a number that no replica has: the server would end the connection of one with the same."""
    is_mariadb = session.connection.mysql_is_mariadb  # type: ignore[attr-defined]
    used = {int(session.fetch_value("SELECT @@server_id"))}
    with contextlib.suppress(DatabaseError):  # MariaDB demands a privilege for it that nothing else here needs
        used |= {int(row[0]) for row in session.fetch_all("SHOW SLAVE HOSTS" if is_mariadb else "SHOW REPLICAS")}
    choose = random.SystemRandom()
    return next(number for number in iter(lambda: choose.randrange(1 << 30, 1 << 31), None) if number not in used)


def connection_arguments(session: Engine) -> dict[str, Any]:
    """Return the arguments with which PyMySQL connects to the server of ``session``, protected like its connection.

    They include the password. Raises :exc:`NotCarriedOver`.
    """
    given: Mapping[str, Any] = session.connection.get_connection_params()
    if unknown := sorted(given.keys() - CARRIED.keys() - NOT_NEEDED):
        raise NotCarriedOver(f"OPTIONS has {unknown[0]!r}")
    found = _from_file(given) | {CARRIED[name]: value for name, value in given.items() if name in CARRIED}
    tls, mode = found.pop("ssl", None), str(found.pop("ssl_mode", None) or "").upper()
    if isinstance(tls, Mapping) and (unknown := sorted(tls.keys() - TLS_KEYS)):
        raise NotCarriedOver(f"'ssl' in OPTIONS has {unknown[0]!r}")
    if _is_encrypted(session):
        found["ssl"] = _tls(tls if isinstance(tls, Mapping) else {}, mode)
    else:
        found["ssl_disabled"] = True
    if _uses_socket(session.connection):
        found.setdefault("unix_socket", session.fetch_value("SELECT @@socket"))
    else:
        found.pop("unix_socket", None)
    if isinstance(password := found.get("password"), str):
        found["password"] = password.encode()  # PyMySQL would encode it in Latin-1
    if "port" in found:
        found["port"] = int(found["port"])
    found["connect_timeout"] = int(found.get("connect_timeout") or session.link_timeout)
    return found | {"charset": "utf8mb4", "read_timeout": session.link_timeout, "write_timeout": session.link_timeout}


def _is_encrypted(session: Engine) -> bool:
    rows = session.fetch_all("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
    return bool(rows and rows[0][1])


def _uses_socket(connection: BaseDatabaseWrapper) -> bool:
    """Whether a connection goes through a file of this machine, which ``localhost`` means to mysqlclient alone."""
    return "UNIX socket" in str(connection.connection.get_host_info())


def _tls(files: Mapping[str, Any], mode: str) -> ssl.SSLContext:
    """Return how a connection is encrypted: the certificate is checked if a mode or an authority demands it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Certificates that servers make for themselves lack what Python demands from 3.13 on, as PyMySQL knows.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    authority = files.get("ca") or files.get("capath")
    context.check_hostname = mode == "VERIFY_IDENTITY"
    if not authority and mode not in ("VERIFY_CA", "VERIFY_IDENTITY"):
        context.verify_mode = ssl.CERT_NONE
    elif authority:
        context.load_verify_locations(cafile=files.get("ca"), capath=files.get("capath"))
    else:
        context.load_default_certs()
    if files.get("cert"):
        context.load_cert_chain(files["cert"], files.get("key"))
    if files.get("cipher"):
        context.set_ciphers(files["cipher"])
    return context


# -- option files -----------------------------------------------------------------------------------------------------


def _from_file(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the option file of the settings says."""
    name = given.get("read_default_file")
    if not name:
        if given.get("read_default_group"):
            raise NotCarriedOver("OPTIONS has 'read_default_group' without 'read_default_file'")
        return {}
    parser = configparser.RawConfigParser(allow_no_value=True, strict=False, interpolation=None)
    try:
        parser.read_string(Path(name).expanduser().read_text())
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise NotCarriedOver(f"'read_default_file' in OPTIONS could not be read ({type(error).__name__})") from None
    found: dict[str, Any] = {}
    tls: dict[str, str] = {}
    for group in (*GROUPS, given.get("read_default_group")):
        if group is None or not parser.has_section(group):
            continue
        for written, value in parser.items(group):
            option = written.replace("_", "-")
            if option in CARRIED_FROM_FILES:
                found[CARRIED_FROM_FILES[option]] = _unquoted(value or "")
            elif option in TLS_FILES:
                tls[TLS_FILES[option]] = _unquoted(value or "")
            elif option not in NOT_NEEDED_FROM_FILES:
                raise NotCarriedOver(f"the file that 'read_default_file' in OPTIONS names has {option!r}")
    return found | ({"ssl": tls} if tls else {})


def _unquoted(value: str) -> str:
    """Return a value of an option file without quotes, comments and escapes."""
    value = value.strip()
    quoted = re.match(r"(['\"])(.*?)\1\s*(#.*)?$", value)
    value = quoted[2] if quoted else value.partition("#")[0].rstrip()
    return re.sub(r"\\(.)", lambda found: ESCAPES.get(found[1], found[1] if found[1] in "\\\"'" else found[0]), value)
