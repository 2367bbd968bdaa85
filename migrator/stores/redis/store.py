"""Redis, Valkey and compatible servers, through Django's own cache, django-redis or django-valkey.

Reads go to the primary, values are the server's bytes, and times to live are the server's milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Any, Self

from ...clock import MICROSECONDS_PER_MILLISECOND, MICROSECONDS_PER_SECOND, now
from ..base import WHOLE, Record, Share
from ..key_space import escaped_glob
from ..key_store import KeyStore
from ..stored_values import Value
from .acl import (
    PART_OF_CLUSTER,
    is_denied,
    is_part_of_cluster,
    may_scan,
    missing_rights,
    probe_key,
    refused_write,
    user_of,
    what_to_grant,
)
from .conditional_writes import compare_command, set_command
from .pipeline import Command, Runner, Server, runner
from .replies import Malformed, answer_of, as_bytes
from .server_info import address_of, count_of, identities, is_interceptable, server_info

_NEVER, _GONE = -1, -2
_PICKLE_START = b"\x80"


class RedisStore(KeyStore):
    """Django's own ``RedisCache``; subclasses replace the methods in which other backends differ."""

    can_change_threads = True
    expiry_step = MICROSECONDS_PER_MILLISECOND

    def __init__(self, *, alias: str, cache: Any, trust_pickle: bool) -> None:
        super().__init__(alias=alias, cache=cache, trust_pickle=trust_pickle)
        self._has_own_clock = False

    def by_own_clock(self) -> Self:
        found = copy(self)
        found._has_own_clock = True
        return found

    def check_reachable(self) -> None:
        _ = self._info  # which asks the server

    @cached_property
    def _info(self) -> Mapping[str, Any]:
        return self._server_info()

    @cached_property
    def _server_version(self) -> tuple[int, ...]:
        if found := self._info.get("redis_version"):
            return tuple(int(part) for part in str(found).split(".")[:2])
        # INFO is forbidden to some users.
        (answer,) = runner(self._clients()[0]).run([(b"PEXPIRETIME", probe_key(self.space).encode())])
        return (7, 0) if type(answer) is int else (0,)

    @property
    def _has_absolute_expiry(self) -> bool:
        return self._server_version >= (6, 2)

    @property
    def _has_expiry_time(self) -> bool:
        """Whether expiries are read as moments by the server's clock, not as times left."""
        return not self._has_own_clock and self._server_version >= (7, 0)

    @property
    def expiry_slack(self) -> int:  # type: ignore[override]
        """Two readings of a time left can be some milliseconds apart."""
        return 0 if self._has_expiry_time else 100 * MICROSECONDS_PER_MILLISECOND

    def server_time(self) -> int | None:
        seconds, microseconds = self._client_of(self.cache.make_key("clock")).time()
        return int(seconds) * MICROSECONDS_PER_SECOND + int(microseconds)

    # What differs between the backends

    def _clients(self) -> list[Any]:
        """Return one client for each server or cluster with keys."""
        return [self.cache._cache.get_client(None, write=True)]

    def close(self) -> None:
        # Django's backend has pools in each thread and never closes them; they connect again when used.
        for pool in self.cache._cache._pools.values():
            pool.disconnect()

    def _client_of(self, raw_key: str) -> Any:
        """Return the client of the server that has a key."""
        return self._clients()[0]

    @cached_property
    def _serializer(self) -> Any:
        return self.cache._cache._serializer

    def _has_pickles(self) -> bool:
        return dotted_name(self._serializer) == "django.core.cache.backends.redis.RedisSerializer"

    @cached_property
    def _pickles(self) -> bool:
        return self._has_pickles()

    def _compressed(self, data: bytes) -> bytes:
        return data

    def _decompressed(self, data: bytes) -> bytes:
        return data

    def encoding(self) -> str:
        return dotted_name(self._serializer)

    @cached_property
    def can_list_keys(self) -> bool:  # type: ignore[override]
        """Whether the server's user may run SCAN."""
        return all(may_scan(client) for client in self._clients())

    def why_unlisted(self) -> str:
        return f"its user may not run SCAN (ACL SETUSER {user_of(self._clients()[0])} +scan grants it)"

    def refusal(self) -> str | None:
        if self._info.get("role") == "slave":
            primary = f"{self._info.get('master_host')}:{self._info.get('master_port')}"
            return f"it is a replica; name its primary, {primary}, as the first LOCATION"
        if denied := missing_rights(self._clients(), self.space, self._used_commands):
            return denied
        if refused := refused_write(self._clients(), self.space):
            return refused
        try:
            for client in self._clients():
                client.eval("return 1", 1, probe_key(self.space))
        except Exception as error:
            if is_denied(error):
                return what_to_grant(self._clients()[0], self.space, ["EVAL"])
            return f"it does not run the short script that compares before it writes ({error})"
        return None

    @property
    def _used_commands(self) -> tuple[bytes, ...]:
        """The commands that a destination needs."""
        found = (*self._commands_to_read, b"SET", b"DEL")
        return found if self._has_absolute_expiry else (*found, b"PEXPIREAT")

    @property
    def _commands_to_read(self) -> tuple[bytes, ...]:
        """The commands that a source needs."""
        found = (*self._question, b"EXISTS")
        return found if self._has_expiry_time else (*found, b"TIME")

    def blind_spot(self) -> str | None:
        may_be_cluster = self._info.get("cluster_enabled", 1)
        if may_be_cluster and any(is_part_of_cluster(client, self.space) for client in self._clients()):
            return PART_OF_CLUSTER
        return missing_rights(self._clients(), self.space, self._commands_to_read)

    # What it is

    def _server_info(self) -> Mapping[str, Any]:
        return server_info(self._clients()[0], self.alias)

    def address(self) -> str:
        return ", ".join(address_of(client) for client in self._clients())

    def locations(self) -> frozenset[str]:
        return frozenset().union(*(identities(client) for client in self._clients()))

    def notes(self) -> list[str]:
        found = []
        policy, limit = self._info.get("maxmemory_policy"), self._info.get("maxmemory")
        if limit and policy not in (None, "noeviction"):
            found.append(
                f"{self.alias!r} evicts keys when {limit:,} bytes are full (maxmemory-policy {policy}); "
                "evictions during the copy are counted"
            )
        if any(map(is_interceptable, self._clients())):
            found.append(
                f"anyone in the network on the way to {self.alias!r} can read or change what is copied: use rediss://, "
                "and have the certificate checked"
            )
        if self._info.get("role") == "slave":
            found.append(
                f"{self.alias!r} is a replica: changes of its primary during the copy are seen late, or not at all"
            )
        if not self._has_absolute_expiry or not self._has_expiry_time:
            found.append(
                f"{self.alias!r} is older than Redis 7: expiries are exact to some milliseconds, and never later"
            )
        return found

    def evictions(self) -> int:
        return sum(count_of(client, "evicted_keys") for client in self._clients())

    # Keys

    def keys(self, size: int, share: Share = WHOLE) -> Iterator[list[str]]:
        pattern = escaped_glob(self.space.head)
        if first := share.beginning():
            pattern += f"[{first}]"
        pattern += f"*{escaped_glob(self.space.within)}*" if self.space.within else "*"
        pattern += escaped_glob(self.space.tail)
        for client in self._clients():
            for batch in runner(client).scan(pattern.encode("utf-8", "surrogateescape"), size):
                keys = self.space.keys([raw.decode("utf-8", "surrogateescape") for raw in batch])
                if page := keys if share.is_whole else [key for key in keys if share.holds(key)]:
                    yield page

    @property
    def _question(self) -> tuple[bytes, bytes]:
        """The commands that read a key."""
        return b"GET", b"PEXPIRETIME" if self._has_expiry_time else b"PTTL"

    def fetch(self, keys: Sequence[str]) -> dict[str, Record]:
        asked = now()
        found: dict[str, Record] = {}
        for server, group, raws in self._by_server(keys):
            # Taken before the server replies, so that no expiry is later than the real one.
            base = 0 if self._has_expiry_time else self._moment(server)
            answers = server.ask(self._question, raws)
            for key, value, left in zip(group, answers[::2], answers[1::2], strict=True):
                if value is None or left == _GONE:
                    continue
                if type(left) is not int or left < _GONE:
                    if isinstance(left, Exception):
                        raise left
                    if left is not None or isinstance(server, Runner):  # some cluster clients return None for never
                        raise Malformed
                    left = _NEVER
                expires = None if left == _NEVER else base + left * MICROSECONDS_PER_MILLISECOND
                if expires is None or expires > (base or asked):
                    found[key] = Record(key, value if type(value) is bytes else as_bytes(value), expires)
        return found

    def _moment(self, server: Server) -> int:
        """Return the moment to which a time left is added: by the server's clock, rounded down to milliseconds."""
        moment = None if self._has_own_clock else server.time()
        return (now() if moment is None else moment) // MICROSECONDS_PER_MILLISECOND * MICROSECONDS_PER_MILLISECOND

    def are_as_seen(self, records: Sequence[Record]) -> bool:
        if not self._has_expiry_time:
            return False
        seen = {record.key: answer_of(record.raw, record.expires) for record in records}
        return all(
            server.answers_are(self._question, raws, b"".join([seen[key] for key in group]))
            for server, group, raws in self._by_server(seen)
        )

    def present(self, keys: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for server, group, raws in self._by_server(keys):
            if server.answers_are((b"EXISTS",), raws, b":1\r\n" * len(raws)):
                found.update(group)
                continue
            for key, answer in zip(group, server.ask((b"EXISTS",), raws), strict=True):
                if isinstance(answer, Exception):
                    raise answer
                if type(answer) is not int:
                    raise Malformed
                if answer:
                    found.add(key)
        return found

    def add(self, records: Sequence[Record]) -> set[str]:
        written = set()
        by_key = {record.key: record for record in records}
        for server, group, raws in self._by_server(by_key):
            moment = now()
            live = [(key, raw) for key, raw in zip(group, raws, strict=True) if _is_live(by_key[key], moment)]
            commands = [self._set(raw, by_key[key], b"NX") for key, raw in live]
            for (key, _), answer in zip(live, server.run(commands), strict=True):
                if isinstance(answer, Exception):
                    raise answer
                if answer is not None and answer is not False:
                    written.add(key)
            if server.repeated:
                # The reply to the first attempt was lost: what is there may be ours.
                there = self.fetch(group)
                written.update(key for key in there if self.is_as_seen(there, by_key[key]))
        return written

    def _set(self, raw: bytes, record: Record, condition: bytes) -> Command:
        return set_command(raw, self._outer(record), condition, has_pxat=self._has_absolute_expiry)

    def update(self, record: Record) -> bool:
        ((server, _, raws),) = self._by_server([record.key])
        (answer,) = server.run([self._set(raws[0], record, b"XX")])
        if isinstance(answer, Exception):
            raise answer
        return answer is not None and answer is not False

    def replace(self, pairs: Sequence[tuple[Record, Record]]) -> set[str]:
        moment = now()
        return self._compare({seen.key: (seen, new if _is_live(new, moment) else None) for seen, new in pairs})

    def discard(self, records: Sequence[Record]) -> set[str]:
        return self._compare({seen.key: (seen, None) for seen in records})

    def _compare(self, wanted: Mapping[str, tuple[Record, Record | None]]) -> set[str]:
        """Write each record instead of what was seen, or delete that; return the keys that still held it."""
        changed = set()
        for server, group, raws in self._by_server(wanted):
            commands: list[Command] = []
            for key, raw in zip(group, raws, strict=True):
                seen, new = wanted[key]
                expected = (seen.raw, self._seen_expiry(seen))
                outer = None if new is None else self._outer(new)
                has_pxat, tolerance = self._has_absolute_expiry, self.expiry_slack
                commands.append(compare_command(raw, expected, outer, has_pxat=has_pxat, tolerance=tolerance))
            for key, answer in zip(group, server.run(commands), strict=True):
                if isinstance(answer, Exception):
                    raise answer
                if answer:
                    changed.add(key)
            if server.repeated:
                there = self.fetch(group)
                changed.update(
                    key for key, record in there.items() if (new := wanted[key][1]) and record.raw == new.raw
                )
        return changed

    def _seen_expiry(self, seen: Record) -> bytes:
        """Return the expiry that the key must still have, empty if it is not compared."""
        return b"%d" % (_NEVER if seen.expires is None else seen.expires // MICROSECONDS_PER_MILLISECOND)

    def _outer(self, record: Record) -> Record:
        """Return a record with the expiry that its key has on the server."""
        return record

    def _by_server(self, keys: Iterable[str]) -> Iterator[tuple[Server, list[str], list[bytes]]]:
        """Yield each server with its keys and their raw keys."""
        clients = self._clients()
        if len(clients) == 1:
            group = list(keys)
            yield runner(clients[0]), group, [_encoded(raw) for raw in self.space.raws(group)]
            return
        groups: dict[int, tuple[Any, list[str], list[bytes]]] = {}
        for key in keys:
            raw = self.space.raw(key)
            client = self._client_of(raw)
            _, group, raws = groups.setdefault(id(client.connection_pool), (client, [], []))
            group.append(key)
            raws.append(_encoded(raw))
        for client, group, raws in groups.values():
            yield runner(client), group, raws

    # Values

    def decode(self, raw: bytes) -> Any:
        if not self._pickles:
            return self._serializer.loads(raw)
        if raw[:1] == _PICKLE_START:
            return self._unpickle(raw)
        try:
            return int(raw)
        except ValueError:
            return self._unpickle(self._decompressed(raw))

    def load(self, raws: Mapping[str, Any]) -> dict[str, Any]:
        return {key: self._serializer.loads(raw) for key, raw in raws.items()}

    def encode(self, value: Any, expires: int | None) -> bytes:
        return as_bytes(self._serializer.dumps(value))

    @property
    def has_exact_values(self) -> bool:
        return self._pickles

    def unwrap(self, raw: bytes) -> Value:
        if not self._pickles:
            return super().unwrap(raw)
        try:
            int(raw)
        except ValueError:
            data = self._decompressed(raw)
            return Value.of_pickle(data) if data[:1] == _PICKLE_START else Value("unknown", data)
        return Value("integer", raw)

    def wrap(self, value: Value) -> bytes:
        if not self._pickles:
            return super().wrap(value)
        return value.data if value.kind == "integer" else self._compressed(value.as_pickle())


def dotted_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _encoded(raw: str) -> bytes:
    """Return a raw key as the server has it, even if that is not valid UTF-8."""
    return raw.encode("utf-8", "surrogateescape")


def _is_live(record: Record, moment: int) -> bool:
    return record.expires is None or record.expires > moment
