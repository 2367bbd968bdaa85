"""A private MariaDB whose test user has privileges on the tests' databases only."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.servers.base import DATABASE_PREFIX, PASSWORD, USER, Server
from tests.servers.process import ask, find_program, run

_OPTIONS = {
    "bind-address": "127.0.0.1",
    "character-set-server": "utf8mb4",
    "local-infile": "1",
    "innodb-buffer-pool-size": "64M",
    "innodb-log-file-size": "32M",
    "innodb-flush-log-at-trx-commit": "0",
    "innodb-flush-method": "nosync",
    "innodb-fast-shutdown": "2",
}


class MariaDB(Server):
    name = "mariadb"
    marker = "mysql"
    variable = "MIGRATOR_TEST_MYSQL"
    package = "mariadb-server"
    programs: ClassVar[Sequence[str]] = ["mariadbd"]
    users: ClassVar[Sequence[str]] = ["mysql"]

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
        install = find_program("mariadb-install-db") or self.program.with_name("mariadb-install-db")
        # root connects through the socket only, in a directory that no one else can enter.
        run(
            [
                install,
                "--no-defaults",
                f"--datadir={self._data}",
                f"--tmpdir={self._temporary}",
                "--skip-test-db",
                "--auth-root-authentication-method=socket",
            ],
            self.directory,
            self.user,
        )
        names = DATABASE_PREFIX.replace("_", r"\_")
        (self.directory / "start.sql").write_text(
            f"CREATE USER IF NOT EXISTS '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON `{names}%`.* TO '{USER}'@'127.0.0.1';\n"
        )

    def command(self) -> list[str | Path]:
        return [
            self.program,
            "--no-defaults",
            "--skip-name-resolve",
            f"--datadir={self._data}",
            f"--tmpdir={self._temporary}",
            f"--socket={self.directory / 'socket'}",
            f"--pid-file={self.directory / 'pid'}",
            f"--init-file={self.directory / 'start.sql'}",
            f"--port={self.port}",
            *(f"--{name}={value}" for name, value in _OPTIONS.items()),
        ]

    def is_ready(self) -> bool:
        # It sends its version to each connection, once it accepts any.
        return b"MariaDB" in ask(self.port, b"")

    def address(self) -> str:
        return f"mysql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/"
