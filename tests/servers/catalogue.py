"""All test servers, in the order in which they are started, and those that each test process starts for itself."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.servers.base import Server
from tests.servers.mariadb import MariaDB
from tests.servers.memcached import Memcached
from tests.servers.mysql import MySQL
from tests.servers.postgresql import PostgreSQL
from tests.servers.redis import Redis


def _mysql_or_mariadb() -> type[Server]:
    """Return MySQL if the `mysqld` of this machine is MySQL's; MariaDB's own program has that name as well."""
    program = MySQL.find()
    if program is None:
        return MariaDB
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return MariaDB if "MariaDB" in said else MySQL


SERVERS: tuple[type[Server], ...] = (PostgreSQL, _mysql_or_mariadb(), Redis, Memcached)

# Lists the variables of the servers that were started for the tests, not named by the environment.
OWN = "MIGRATOR_TEST_OWN"
# Set in each process of pytest-xdist.
WORKER = "PYTEST_XDIST_WORKER"


@contextmanager
def servers_of_this_process() -> Iterator[None]:
    """If several processes run the tests, start the servers that they cannot share for this one only."""
    own = os.environ.get(OWN, "").split() if WORKER in os.environ else []
    servers = [server() for server in SERVERS if server.variable in own and not server.is_shared]
    try:
        for server in servers:
            server.start()
            os.environ[server.variable] = server.address()
        yield
    finally:
        for server in servers:
            server.stop()


def has_to_be_alone(marker: str) -> bool:
    """Whether tests of this server may run in one process only: it cannot be shared, and only one is running."""
    own = os.environ.get(OWN, "").split()
    return any(s.marker == marker and not s.is_shared and s.variable not in own for s in SERVERS)
