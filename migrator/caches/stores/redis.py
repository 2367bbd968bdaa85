"""Redis, Valkey and their like, through Django's own cache, django-redis or django-valkey.

Reads go to the primary; values are the server's bytes; times to live are the server's milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

from ...errors import Refused
from ..keys import KeySpace, escaped_glob
from .base import NO_VALUE, WHOLE, Item, KeyStore, Share, Value, now
from .redis_pipe import Command, Runner, runner

MILLISECOND = 1000
_NEVER, _GONE = -1, -2
_PICKLE_START = b"\x80"

# Answers 1 where the key held what was seen and was changed. An empty second argument leaves the expiry uncompared.
_COMPARE = b"""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] ~= '' and redis.call('PEXPIRETIME', KEYS[1]) ~= tonumber(ARGV[2]) then return 0 end
if ARGV[3] == '' then return redis.call('DEL', KEYS[1]) end
if ARGV[4] == '' then redis.call('SET', KEYS[1], ARGV[3])
else redis.call('SET', KEYS[1], ARGV[3], ARGV[4], ARGV[5]) end
return 1
"""


class RedisStore(KeyStore):
    """Django's own ``RedisCache``; what other backends do otherwise is in the methods that subclasses replace."""

    can_list_keys = True
    can_change_threads = True
    expiry_step = MILLISECOND

    def __init__(self, *, alias: str, cache: Any, trust_pickle: bool) -> None:
        super().__init__(alias=alias, cache=cache, trust_pickle=trust_pickle)
        self._info = self._server_info()
        version = tuple(int(part) for part in str(self._info.get("redis_version", "0")).split(".")[:2])
        self._has_absolute_expiry = version >= (6, 2)
        self._has_expiry_time = version >= (7, 0)
        if not self._has_expiry_time:  # its answers are times left, which two readings put some milliseconds apart
            self.expiry_slack = 100 * MILLISECOND

    # What differs between the backends

    def _clients(self) -> list[Any]:
        """Return one client for each server or cluster that keys are listed from."""
        return [self.cache._cache.get_client(None, write=True)]

    def close(self) -> None:
        # Django's backend has pools in each thread and never closes them; they open again where they are used.
        for pool in self.cache._cache._pools.values():
            pool.disconnect()

    def _client_of(self, raw_key: str) -> Any:
        """Return the client of the server that holds a key."""
        return self._clients()[0]

    @property
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

    def refusal(self) -> str | None:
        try:
            for client in self._clients():
                client.eval("return 1", 1, "migrator")
        except Exception as error:
            return f"it does not run the short script that compares before it changes ({error})"
        return None

    # What it is

    def _server_info(self) -> Mapping[str, Any]:
        client = self._clients()[0]
        try:
            info = client.info()
        except Exception as error:
            if type(error).__name__ in ("ConnectionError", "TimeoutError", "AuthenticationError"):
                raise Refused(
                    f"The cache {self.alias!r} does not answer ({type(error).__name__}); "
                    "look at its LOCATION and at the server."
                ) from None
            return {}  # INFO is forbidden to some users; everything older servers know works then
        if "redis_version" in info:
            return dict(info)
        return dict(next((node for node in info.values() if isinstance(node, dict)), {}))  # a cluster

    def address(self) -> str:
        places = [self._place(client) for client in self._clients()]
        return ", ".join(places)

    def _place(self, client: Any) -> str:
        if hasattr(client, "get_primaries"):
            nodes = sorted(f"{node.host}:{node.port}" for node in client.get_primaries())
            return f"cluster of {', '.join(nodes)}"
        known = client.connection_pool.connection_kwargs
        where = known.get("path") or f"{known.get('host', 'sentinel')}:{known.get('port', '')}".rstrip(":")
        return f"{where}/{known.get('db') or 0}"

    def identities(self) -> frozenset[str]:
        found = set()
        for client in self._clients():
            if hasattr(client, "get_primaries"):
                found |= {f"{node.host}:{node.port}/0" for node in client.get_primaries()}
                continue
            database = client.connection_pool.connection_kwargs.get("db") or 0
            try:
                found.add(f"{client.info('server')['run_id']}/{database}")
            except Exception:
                found.add(self._place(client))  # the server tells nobody who it is
        return frozenset(found)

    def notes(self) -> list[str]:
        found = []
        policy, limit = self._info.get("maxmemory_policy"), self._info.get("maxmemory")
        if limit and policy not in (None, "noeviction"):
            found.append(
                f"{self.alias!r} drops keys when {limit:,} bytes are full (maxmemory-policy {policy}); "
                "what it drops during the copy is counted."
            )
        if not self._has_absolute_expiry or not self._has_expiry_time:
            found.append(f"{self.alias!r} is older than Redis 7: expiry is exact to some milliseconds, never longer")
        return found

    def evictions(self) -> int:
        return sum(int(_stat(client, "evicted_keys")) for client in self._clients())

    # Keys

    def list_keys(self, space: KeySpace, size: int, share: Share = WHOLE) -> Iterator[list[str]]:
        pattern = escaped_glob(space.head)
        if not (share.is_whole or share.is_last):
            pattern += f"[{share.characters()}]"
        pattern += "*" + escaped_glob(space.tail)
        for client in self._clients():
            found = iter(client.scan_iter(match=pattern, count=max(size, 1000)))
            while batch := list(islice(found, size)):
                keys = (space.key(_text(raw)) for raw in batch)
                if page := list(dict.fromkeys(key for key in keys if key is not None and share.holds(key))):
                    yield page

    def fetch(self, space: KeySpace, keys: Sequence[str]) -> dict[str, Item]:
        asked = now()  # taken before the server answers, so that a time left never ends later than it should
        verb = b"PEXPIRETIME" if self._has_expiry_time else b"PTTL"
        found: dict[str, Item] = {}
        for run, group in self._by_server(space, keys):
            answers = run([command for _, raw in group for command in ((b"GET", raw), (verb, raw))])
            for (key, _), value, left in zip(group, answers[::2], answers[1::2], strict=True):
                if value is None:
                    continue
                expires = self._expiry(left, asked)
                if expires is None or expires > asked:
                    found[key] = Item(key, as_bytes(value), expires)
        return found

    def present(self, space: KeySpace, keys: Sequence[str]) -> set[str]:
        found = set()
        for run, group in self._by_server(space, keys):
            answers = run([(b"EXISTS", raw) for _, raw in group])
            found |= {key for (key, _), answer in zip(group, answers, strict=True) if answer}
        return found

    def _expiry(self, left: Any, asked: int) -> int | None:
        if isinstance(left, Exception):
            raise left
        if left in (_NEVER, None):
            return None
        if left == _GONE:
            return 0
        return int(left) * MILLISECOND if self._has_expiry_time else asked + int(left) * MILLISECOND

    def add(self, space: KeySpace, items: Sequence[Item]) -> set[str]:
        written = set()
        by_key = {item.key: item for item in items}
        for run, group in self._by_server(space, list(by_key)):
            moment = now()
            live = [(key, raw) for key, raw in group if _is_live(by_key[key], moment)]
            commands = [
                (b"SET", raw, by_key[key].raw, b"NX", *self._limit(by_key[key].expires, moment)) for key, raw in live
            ]
            for (key, _), answer in zip(live, run(commands), strict=True):
                if isinstance(answer, Exception):
                    raise answer
                if answer is not None and answer is not False:
                    written.add(key)
        return written

    def _limit(self, expires: int | None, moment: int) -> Command:
        if expires is None:
            return ()
        if self._has_absolute_expiry:
            return (b"PXAT", b"%d" % (expires // MILLISECOND))
        return (b"PX", b"%d" % max((expires - moment) // MILLISECOND, 1))

    def update(self, space: KeySpace, item: Item) -> bool:
        ((run, group),) = self._by_server(space, [item.key])
        (answer,) = run([(b"SET", group[0][1], item.raw, b"XX", *self._limit(item.expires, now()))])
        if isinstance(answer, Exception):
            raise answer
        return answer is not None and answer is not False

    def replace(self, space: KeySpace, pairs: Sequence[tuple[Item, Item]]) -> set[str]:
        moment = now()
        return self._compare(
            space,
            {
                seen.key: (seen, new.raw if _is_live(new, moment) else b"", self._limit(new.expires, moment))
                for seen, new in pairs
            },
        )

    def discard(self, space: KeySpace, items: Sequence[Item]) -> set[str]:
        return self._compare(space, {seen.key: (seen, b"", ()) for seen in items})

    def _compare(self, space: KeySpace, wanted: Mapping[str, tuple[Item, bytes, Command]]) -> set[str]:
        changed = set()
        for run, group in self._by_server(space, wanted):
            commands: list[Command] = []
            for key, raw in group:
                seen, new, limit = wanted[key]
                commands.append(
                    (b"EVAL", _COMPARE, b"1", raw, seen.raw, self._seen_expiry(seen), new, *(limit or (b"", b"")))
                )
            for (key, _), answer in zip(group, run(commands), strict=True):
                if isinstance(answer, Exception):
                    raise answer
                if answer:
                    changed.add(key)
        return changed

    def _seen_expiry(self, seen: Item) -> bytes:
        """Spell the expiry that the key must still have, nothing where the server does not tell it."""
        if not self._has_expiry_time:
            return b""
        return b"%d" % (_NEVER if seen.expires is None else seen.expires // MILLISECOND)

    def _outer_expiry(self, expires: int | None) -> int | None:
        """Return when the server forgets a key that expires then."""
        return expires

    def _by_server(self, space: KeySpace, keys: Iterable[str]) -> list[tuple[Runner, list[tuple[str, bytes]]]]:
        groups: dict[int, tuple[Any, list[tuple[str, bytes]]]] = {}
        clients = self._clients()
        alone = clients[0] if len(clients) == 1 else None
        for key in keys:
            raw = space.raw(key)
            client = alone if alone is not None else self._client_of(raw)
            groups.setdefault(id(client.connection_pool) if alone is None else 0, (client, []))[1].append(
                (key, raw.encode())
            )
        return [(runner(client), group) for client, group in groups.values()]

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


def dotted_name(thing: Any) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def _text(raw: bytes | str) -> str:
    return raw if isinstance(raw, str) else raw.decode("utf-8", "surrogateescape")


def as_bytes(value: Any) -> bytes:
    if isinstance(value, Exception):  # a list or a set of the server's own kinds
        return NO_VALUE
    if isinstance(value, bytes):
        return value
    return str(value).encode() if isinstance(value, int | str) else bytes(value)


def _is_live(item: Item, moment: int) -> bool:
    return item.expires is None or item.expires > moment


def _stat(client: Any, name: str) -> Any:
    try:
        info = client.info("stats")
    except Exception:
        return 0  # not allowed, or not known
    if name in info:
        return info[name]
    return sum(node.get(name, 0) for node in info.values() if isinstance(node, dict))
