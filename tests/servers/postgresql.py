"""A private PostgreSQL that accepts only one role, which is not a superuser."""

import base64
import hashlib
import hmac
import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.servers.base import PASSWORD, USER, Server
from tests.servers.process import ask, run

# A StartupMessage of protocol 3.0 with a user, which the server answers by asking for a password, once it accepts
# sessions (PostgreSQL manual, "Message Formats").
_QUESTION = b"\x00\x00\x00\x15\x00\x03\x00\x00user\x00nobody\x00\x00"


def _stored_password() -> str:
    """Return what the server stores of the password, as made with one iteration (RFC 5803).

    By itself it takes 4096, which cost a client 4 ms of CPU time for each connection.
    """
    salt, iterations = b"of the test servers", 1
    salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), salt, iterations)
    client_key, server_key = (hmac.digest(salted, name, "sha256") for name in (b"Client Key", b"Server Key"))
    stored_key = hashlib.sha256(client_key).digest()
    printed_salt, printed_stored, printed_server = (
        base64.b64encode(part).decode() for part in (salt, stored_key, server_key)
    )
    return f"SCRAM-SHA-256${iterations}:{printed_salt}${printed_stored}:{printed_server}"


class PostgreSQL(Server):
    name = "postgresql"
    marker = "postgresql"
    variable = "MIGRATOR_TEST_POSTGRESQL"
    package = "postgresql"
    programs: ClassVar[Sequence[str]] = ["postgres"]
    places: ClassVar[Sequence[str]] = ["usr/lib/postgresql/*/bin"]
    users: ClassVar[Sequence[str]] = ["postgres"]
    # Fast shutdown; SIGTERM would wait for clients to disconnect.
    stop_signal = signal.SIGINT

    def prepare(self) -> None:
        initdb: list[str | Path] = [
            self.program.resolve().with_name("initdb"),
            "--pgdata=data",
            "--username=postgres",
            "--no-sync",
        ]
        # The sockets admit no one and the superuser has no password, so no test can depend on either.
        initdb += ["--auth-local=reject", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]
        if self._major() >= 15:
            # Text sorts by the rules of a language, as in most databases, not by its bytes.
            initdb += ["--locale-provider=icu", "--icu-locale=en-US"]
        run(initdb, self.directory, self.user)
        make_role = f"CREATE ROLE {USER} LOGIN CREATEDB REPLICATION PASSWORD '{_stored_password()}'"
        single_user: list[str | Path] = [
            self.program,
            "--single",
            "-D",
            "data",
            "-c",
            "exit_on_error=on",
            "postgres",
        ]
        run(single_user, self.directory, self.user, stdin=make_role)

    def command(self) -> list[str | Path]:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "shared_buffers": "64MB",
            "max_connections": "60",
            "wal_level": "logical",
            "max_replication_slots": "20",
        }
        return [
            self.program,
            "-D",
            "data",
            *(part for name, value in options.items() for part in ("-c", f"{name}={value}")),
        ]

    def is_ready(self) -> bool:
        return ask(self.port, _QUESTION).startswith(b"R")

    def address(self) -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/"

    def _major(self) -> int:
        found = re.match(r"\d+", self.version())
        return int(found.group()) if found else 0
