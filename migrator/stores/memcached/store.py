"""memcached through Django's ``PyMemcacheCache``. The client decides which server holds a key.

A key on another server may have been written by another client, or be left from a day when a server was down and have
ended since. Such keys are reported, and not read.

Keys are listed by the servers' crawler, best effort: a key that moves in memory meanwhile can be missed. Every copy
therefore needs a second pass and a verification. Expiry is in whole seconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from django.core.cache.backends.base import memcache_key_warnings

from ...clock import MICROSECONDS_PER_SECOND, now
from ..base import WHOLE, Record, Share
from ..key_store import KeyStore
from ..stored_values import ELSEWHERE, Value
from .connection import Address, Connection

_PICKLE, _INTEGER, _LONG, _TEXT = 1, 2, 4, 16  # the client library's flags
# The server's clock ticks once a second, at another moment than ours, and later if the machine is busy.
_CLOCK_ERROR = 2
_LONGEST_KEY = 250
# The server reads expiries as signed 32-bit integers.
_LAST_SECOND = 2**31 - 1
# The most that an item takes in addition to its key and its value.
_ITEM_OVERHEAD = 64


class _Raw:
    """Passes flags and bytes through the client unread."""

    def serialize(self, key: str, raw: bytes) -> tuple[bytes, int]:
        flags, _, data = raw.partition(b":")
        return data, int(flags)

    def deserialize(self, key: str, data: bytes, flags: int) -> bytes:
        return b"%d:%b" % (flags, data)


class MemcachedStore(KeyStore):
    """Raw values are the flags in digits, a colon, and the bytes."""

    can_list_keys = True
    has_size_limit = True
    can_share = False
    expiry_slack = 3 * MICROSECONDS_PER_SECOND

    def __init__(self, *, alias: str, cache: Any, trust_pickle: bool) -> None:
        super().__init__(alias=alias, cache=cache, trust_pickle=trust_pickle)
        self._serde = cache._options["serde"]
        self._client = cache._class(cache.client_servers, **{**cache._options, "serde": _Raw()})
        # The prefix that the client itself puts before each key.
        self._client_prefix: bytes = self._client.key_prefix
        self._connections: dict[Address, Connection] = {}
        self._listed: dict[bytes, int | None] = {}
        self._limit = min(
            connection.numbers("item_size_max", what="settings")[0] for connection in self._all_connections()
        )

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
        self._client.close()

    def _servers(self) -> list[Address]:
        return [client.server for client in self._client.clients.values()]

    def _connection_to(self, server: Address) -> Connection:
        if server not in self._connections:
            self._connections[server] = self._new_connection(server)
        return self._connections[server]

    def _new_connection(self, server: Address) -> Connection:
        return Connection(server, self._client.tls_context)

    def _all_connections(self) -> list[Connection]:
        return [self._connection_to(server) for server in self._servers()]

    # What it is

    def address(self) -> str:
        names = ", ".join(connection.name for connection in self._all_connections())
        prefix = self._client_prefix.decode("utf-8", "replace")
        return f"{names}, key_prefix {prefix}" if prefix else names

    def locations(self) -> frozenset[str]:
        found = set()
        for connection in self._all_connections():
            process, moment, uptime = connection.numbers("pid", "time", "uptime")
            started = moment - uptime  # which varies by a second between two answers
            for part in (f"{started // 10}", f"half:{(started + 5) // 10}"):
                found.add(f"{process}:{part}:{self._client_prefix!r}")
        return frozenset(found)

    def encoding(self) -> str:
        return f"{type(self._serde).__module__}.{type(self._serde).__qualname__} with flags"

    def notes(self) -> list[str]:
        notes = [f"{self.alias!r} is memcached: its list of keys is best effort, so run a second pass and verify"]
        if len(self._servers()) > 1:
            notes.append(
                f"{self.alias!r} has several servers, and pylibmc and other clients map keys to them differently than "
                "pymemcache. Copy what they wrote from each server as a cache of its own, and copy nothing here that "
                "they have to read"
            )
        return notes

    def evictions(self) -> int:
        return sum(connection.numbers("evictions")[0] for connection in self._all_connections())

    def fits(self, record: Record) -> str | None:
        raw = self.space.raw(record.key)
        if len(self._full(raw)) > _LONGEST_KEY or next(memcache_key_warnings(raw), None):
            return f"memcached takes keys of at most {_LONGEST_KEY} characters, without spaces and control characters"
        size = len(record.raw) + len(record.key) + _ITEM_OVERHEAD
        if size > self._limit:
            return f"it is larger than memcached's items may be ({self._limit:,} bytes)"
        return None

    # Keys

    def keys(self, size: int, share: Share = WHOLE) -> Iterator[list[str]]:
        for server in self._servers():
            listing = self._new_connection(server)  # so that the answers of other commands do not mix with it
            try:
                page: list[str] = []
                for raw, expires in listing.list_keys():
                    if not raw.startswith(self._client_prefix):
                        continue
                    key = self.space.key(raw[len(self._client_prefix) :].decode("utf-8", "surrogateescape"))
                    if key is None or not share.holds(key):
                        continue
                    self._listed[raw] = expires
                    page.append(key)
                    if len(page) >= size:
                        yield page
                        page = []
                        self._listed.clear()
                if page:
                    yield page
            finally:
                listing.close()
                self._listed.clear()

    def read(self, keys: Sequence[str]) -> dict[str, Record]:
        found = self.fetch(keys)
        for connection, group in self._by_server([key for key in keys if key not in found]):
            for other in self._all_connections():
                if other is not connection:
                    found |= {record.key: record._replace(raw=ELSEWHERE) for record in self._got(other, group)}
        return found

    def fetch(self, keys: Sequence[str]) -> dict[str, Record]:
        return {
            record.key: record for connection, group in self._by_server(keys) for record in self._got(connection, group)
        }

    def _got(self, connection: Connection, group: Sequence[tuple[str, bytes]]) -> Iterator[Record]:
        moment = now()
        for (key, raw), stored in zip(group, connection.get([raw for _, raw in group]), strict=True):
            if stored is None:
                continue
            expires = self._expiry(raw, stored.left, moment)
            if expires is None or expires > moment:
                yield Record(key, b"%d:%b" % (stored.flags, stored.data), expires)

    def _expiry(self, raw: bytes, left: int | None, moment: int) -> int | None:
        """Return the listed expiry if the time to live agrees with it, otherwise one no later than the real one."""
        if left is None:
            return None
        second = moment // MICROSECONDS_PER_SECOND
        listed = self._listed.get(raw)
        if listed is not None and abs(listed - (second + left)) <= _CLOCK_ERROR:
            return listed * MICROSECONDS_PER_SECOND
        return (second + left - _CLOCK_ERROR) * MICROSECONDS_PER_SECOND

    def add(self, records: Sequence[Record]) -> set[str]:
        by_key = {record.key: record for record in records}
        written = set()
        for connection, group in self._by_server(list(by_key)):
            entries, keys = [], []
            for key, raw in group:
                flags, _, data = by_key[key].raw.partition(b":")
                expires = self._seconds(by_key[key].expires)
                if expires is not None:
                    entries.append((raw, int(flags), data, expires))
                    keys.append(key)
            written |= {key for key, is_new in zip(keys, connection.add(entries), strict=True) if is_new}
        return written

    def _seconds(self, expires: int | None) -> int | None:
        """Return an expiry as the server takes it, 0 for never; None if it has passed."""
        if expires is None:
            return 0
        seconds = min(expires // MICROSECONDS_PER_SECOND, _LAST_SECOND)
        return seconds if seconds * MICROSECONDS_PER_SECOND > now() else None

    def rounded(self, expires: int | None) -> int | None:
        return None if expires is None else min(super().rounded(expires) or 0, _LAST_SECOND * MICROSECONDS_PER_SECOND)

    def update(self, record: Record) -> bool:
        seconds = self._seconds(record.expires)
        # For the server an expiry within the current second has passed: the key ends now.
        expire = -1 if seconds is None else seconds
        return bool(self._client.replace(self.space.raw(record.key), record.raw, expire=expire, noreply=False))

    def replace(self, pairs: Sequence[tuple[Record, Record]]) -> set[str]:
        changed = set()
        for seen, new in pairs:
            seconds = self._seconds(new.expires)
            if self._compare(seen, new.raw, -1 if seconds is None else seconds):
                changed.add(seen.key)
        return changed

    def discard(self, records: Sequence[Record]) -> set[str]:
        return {seen.key for seen in records if self._compare(seen, b"0:", -1)}

    def _compare(self, seen: Record, raw: bytes, expires: int) -> bool:
        if not self.is_as_seen(self.fetch([seen.key]), seen):
            return False
        current, token = self._client.gets(self.space.raw(seen.key))
        return current == seen.raw and bool(self._client.cas(self.space.raw(seen.key), raw, token, expire=expires))

    def _by_server(self, keys: Sequence[str]) -> list[tuple[Connection, list[tuple[str, bytes]]]]:
        groups: dict[Address, list[tuple[str, bytes]]] = defaultdict(list)
        for key in keys:
            raw = self.space.raw(key)
            client = self._client._get_client(raw)
            groups[client.server].append((key, self._full(raw)))
        return [(self._connection_to(server), group) for server, group in groups.items()]

    def _full(self, raw: str) -> bytes:
        """Return a raw key as the server has it."""
        return self._client_prefix + raw.encode("utf-8", "surrogateescape")

    # Values

    def decode(self, raw: bytes) -> Any:
        flags, _, data = raw.partition(b":")
        if self._has_pickles() and int(flags) & _PICKLE:
            return self._unpickle(data)
        return self._serde.deserialize("", data, int(flags))

    def encode(self, value: Any, expires: int | None) -> bytes:
        data, flags = self._serde.serialize("", value)
        return b"%d:%b" % (flags, data.encode() if isinstance(data, str) else data)

    def _has_pickles(self) -> bool:
        return type(self._serde).__name__ == "PickleSerde"

    @property
    def has_exact_values(self) -> bool:
        return self._has_pickles()

    def unwrap(self, raw: bytes) -> Value:
        if not self._has_pickles():
            return super().unwrap(raw)
        flags, _, data = raw.partition(b":")
        kinds = {_PICKLE: "pickle", _INTEGER: "integer", _LONG: "integer", _TEXT: "text", 0: "bytes"}
        return Value(kinds.get(int(flags), "unknown"), data)

    def wrap(self, value: Value) -> bytes:
        flags = {"pickle": _PICKLE, "integer": _INTEGER, "text": _TEXT, "bytes": 0}
        if not self._has_pickles() or value.kind not in flags:
            return super().wrap(value)
        return b"%d:%b" % (flags[value.kind], value.data)
