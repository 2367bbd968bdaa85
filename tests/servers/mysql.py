"""A private MySQL whose test user has privileges on the tests' databases only."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from tests.servers.base import DATABASE_PREFIX, PASSWORD, USER, Server
from tests.servers.process import ask, run

# It may also lock the whole server against writers, and keep its changes out of the server's log, which no privilege on
# databases allows.
LOCKING_USER = f"{USER}_locks"


class MySQL(Server):
    """MySQL; MariaDB differs in how its data directory is made, and in some options."""

    name = "mysql"
    marker = "mysql"
    variable = "MIGRATOR_TEST_MYSQL"
    # Debian's stable releases have no package of MySQL.
    package = "mariadb-server"
    programs: ClassVar[Sequence[str]] = ["mysqld"]
    users: ClassVar[Sequence[str]] = ["mysql"]
    options: ClassVar[Mapping[str, str]] = {
        "bind-address": "127.0.0.1",
        "character-set-server": "utf8mb4",
        "local-infile": "1",
        "innodb-buffer-pool-size": "64M",
        "innodb-flush-log-at-trx-commit": "0",
        "innodb-flush-method": "nosync",
        "innodb-fast-shutdown": "2",
        # Changes are followed by the binary log.
        "log-bin": "binlog",
        "server-id": "1",
        "sync-binlog": "0",
        # The tests' user creates triggers.
        "log-bin-trust-function-creators": "ON",
    }
    # The privilege to set sql_log_bin.
    unlogged: ClassVar[str] = "SESSION_VARIABLES_ADMIN"
    own_options: ClassVar[Mapping[str, str]] = {
        "innodb-redo-log-capacity": "64M",
        "innodb-doublewrite": "OFF",
        "mysqlx": "OFF",
        # The directory that it would be is not there if only the program was unpacked.
        "secure-file-priv": "NULL",
        # Most servers have GTIDs, which show whether a transaction has committed.
        "gtid-mode": "ON",
        "enforce-gtid-consistency": "ON",
    }

    @property
    def base(self) -> Path:
        """Return the directory of the installation, in which the server finds messages, character sets and plugins."""
        return self.program.resolve().parent.parent

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    @property
    def _temporary(self) -> Path:
        # A starting server removes the temporary tables that it finds, which would crash another server.
        return self.directory / "tmp"

    def prepare(self) -> None:
        self._temporary.mkdir()
        if self.user:
            shutil.chown(self._temporary, self.user)
        # root connects through the socket only, in a directory that no one else can enter.
        run([*self.installer(), f"--datadir={self._data}", f"--tmpdir={self._temporary}"], self.directory, self.user)
        names = DATABASE_PREFIX.replace("_", r"\_")
        statements = [
            f"{statement};\n"
            for user in (USER, LOCKING_USER)
            for statement in (
                f"CREATE USER IF NOT EXISTS '{user}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'",
                f"GRANT ALL ON `{names}%`.* TO '{user}'@'127.0.0.1'",
            )
        ]
        statements += [
            f"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO '{USER}'@'127.0.0.1';\n",
            f"GRANT RELOAD, {self.unlogged} ON *.* TO '{LOCKING_USER}'@'127.0.0.1';\n",
        ]
        (self.directory / "start.sql").write_text("".join(statements))

    def installer(self) -> list[str | Path]:
        """Return the command that creates the data directory, without that directory's own options."""
        return [self.program, "--no-defaults", f"--basedir={self.base}", "--initialize-insecure"]

    def command(self) -> list[str | Path]:
        return [
            self.program,
            "--no-defaults",
            "--skip-name-resolve",
            f"--basedir={self.base}",
            f"--datadir={self._data}",
            f"--tmpdir={self._temporary}",
            f"--socket={self.directory / 'socket'}",
            f"--pid-file={self.directory / 'pid'}",
            f"--init-file={self.directory / 'start.sql'}",
            f"--port={self.port}",
            *(f"--{name}={value}" for name, value in {**self.options, **self.own_options}.items()),
        ]

    def is_ready(self) -> bool:
        # It greets each connection with the version of the protocol, 10, once it accepts any.
        return ask(self.port, b"")[4:5] == b"\n"

    def address(self) -> str:
        return f"mysql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/"
