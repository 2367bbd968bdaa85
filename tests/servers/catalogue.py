"""The servers there are, in the order they are started, and those that each process of tests has for itself."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tests.servers.base import Server
from tests.servers.mariadb import MariaDB
from tests.servers.memcached import Memcached
from tests.servers.postgresql import PostgreSQL
from tests.servers.redis import Redis

SERVERS: tuple[type[Server], ...] = (PostgreSQL, MariaDB, Redis, Memcached)

# The variable that lists those of servers which were started for the tests, and not named by the environment.
OWN = "MIGRATOR_TEST_OWN"
# Set in each of several processes that share the tests (pytest-xdist).
WORKER = "PYTEST_XDIST_WORKER"


@contextmanager
def servers_of_this_process() -> Iterator[None]:
    """Where several processes share the tests, start the servers that they cannot share, for this one alone."""
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
    """Tell whether tests of this server may run in one process only: it cannot be shared, and there is one of it."""
    own = os.environ.get(OWN, "").split()
    return any(s.marker == marker and not s.is_shared and s.variable not in own for s in SERVERS)
