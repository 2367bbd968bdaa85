"""A private MariaDB whose test user has privileges on the tests' databases only."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from tests.servers.mysql import MySQL


class MariaDB(MySQL):
    """A MySQL by its options, except for its log, and by its interface."""

    name = "mariadb"
    programs: ClassVar[Sequence[str]] = ["mariadbd"]
    unlogged: ClassVar[str] = "BINLOG ADMIN"
    own_options: ClassVar[Mapping[str, str]] = {"innodb-log-file-size": "32M", "binlog-format": "ROW"}

    def installer(self) -> list[str | Path]:
        return [
            self.base / "bin" / "mariadb-install-db",
            "--no-defaults",
            # Do not look up this machine's name.
            "--force",
            "--skip-test-db",
            "--auth-root-authentication-method=socket",
        ]
