"""memcached for transitions: read over the connections of the cache's own client, and no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...clock import MICROSECONDS_PER_SECOND, now
from ..base import Record
from ..key_store import KeyStore

# The server's clock ticks once a second, at another moment than ours.
_CLOCK_ERROR = 2


class ClientMemcachedStore(KeyStore):
    """Finds the keys of servers that know the meta commands (memcached 1.6); of other servers it finds no key.

    ``raw`` is the number of the value's last write (its CAS token), so that values are read only when needed.
    """

    expiry_slack = 3 * MICROSECONDS_PER_SECOND

    def fetch(self, keys: Sequence[str]) -> dict[str, Record]:
        found = {}
        for key in keys:
            raw = self.space.raw(key)
            answer = self.cache._cache._get_client(raw).raw_command(b"mg %b t c" % raw.encode())
            flags = {part[:1]: int(part[1:]) for part in answer.split()[1:]}
            if answer.startswith(b"HD") and b"c" in flags:
                left = flags[b"t"]
                expires = None if left == -1 else now() + (left - _CLOCK_ERROR) * MICROSECONDS_PER_SECOND
                found[key] = Record(key, flags[b"c"], expires)
        return found

    def load(self, raws: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.cache.get_many(list(raws), version=self.version)
        return found

    def server_time(self) -> int | None:
        statistics = self.cache._cache._get_client(self.cache.make_key("clock")).stats()
        return int(statistics[b"time"]) * MICROSECONDS_PER_SECOND
