"""All test servers, in the order in which they are started, and those that each test process starts for itself."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tests.servers.base import Server
from tests.servers.mariadb import MariaDB
from tests.servers.memcached import Memcached
from tests.servers.postgresql import PostgreSQL
from tests.servers.redis import Redis

SERVERS: tuple[type[Server], ...] = (PostgreSQL, MariaDB, Redis, Memcached)

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
