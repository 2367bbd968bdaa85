"""The servers there are, in the order they are started."""

from tests.servers.base import Server
from tests.servers.mariadb import MariaDB
from tests.servers.memcached import Memcached
from tests.servers.postgresql import PostgreSQL
from tests.servers.redis import Redis

SERVERS: tuple[type[Server], ...] = (PostgreSQL, MariaDB, Redis, Memcached)
