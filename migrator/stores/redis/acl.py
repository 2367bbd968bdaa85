"""What the user of a connection may do on a Redis server, and whether that server has all keys. Asking changes nothing.

Every key of these questions is under the prefix of the cache: some users have rights on no other key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...console.wording import listed
from ...server_errors import error_summary
from ..key_space import KeySpace, escaped_glob
from .pipeline import Command, runner

_PROBE = "migrator.probe"
# With XX, a SET of the absent probe key is tried and changes nothing, and neither does an expiry of it.
_WRITES_NOTHING = (b"", b"XX")
_ARGUMENTS: Mapping[bytes, tuple[bytes, ...]] = {b"SET": _WRITES_NOTHING, b"PEXPIREAT": (b"0",)}
_KEYLESS: Mapping[bytes, Command] = {b"TIME": (b"TIME",)}
PART_OF_CLUSTER = (
    "it is one node of a Redis Cluster, and other nodes hold the other keys. Name the cluster by a backend over a "
    "cluster client, such as django_valkey.cluster_cache.cache.ClusterValkeyCache, or a RedisCache of your own over "
    "redis.RedisCluster"
)
# A cluster has 16,384 slots. A node with nine tenths of them answers so many probes only once in 10^11 times.
_CLUSTER_PROBES = 240


def is_part_of_cluster(client: Any, space: KeySpace) -> bool:
    """Whether a plain client talks to one node of a cluster that sends keys of ``space`` elsewhere.

    A node that serves all of them is as good as a server of its own.
    """
    if hasattr(client, "get_primaries"):
        return False
    keys = space.raws([f"{_PROBE}.{number}" for number in range(_CLUSTER_PROBES)])
    answers = runner(client).ask((b"EXISTS",), [key.encode() for key in keys])
    return any(type(answer).__name__ in ("MovedError", "AskError") for answer in answers)


def is_denied(answer: Any) -> bool:
    """Whether a reply says that the connection's user lacks a right (ACL)."""
    is_error = isinstance(answer, Exception)
    return is_error and (type(answer).__name__ == "NoPermissionError" or str(answer).startswith("NOPERM"))


def may_scan(client: Any) -> bool:
    """Whether the connection's user may list keys."""
    if hasattr(client, "get_primaries"):
        return True  # the listing itself shows it
    (answer,) = runner(client).run([(b"SCAN", b"0", b"COUNT", b"1")])
    return not is_denied(answer)


def user_of(client: Any) -> str:
    """Return the name with which a client logs in."""
    if hasattr(client, "get_primaries"):
        return str(client.get_connection_kwargs().get("username") or "default")
    return str(client.connection_pool.connection_kwargs.get("username") or "default")


def probe_key(space: KeySpace) -> str:
    """Return a raw key that does not exist, under the prefix of ``space``."""
    return space.raw(_PROBE)


def missing_rights(clients: Sequence[Any], space: KeySpace, verbs: Sequence[bytes]) -> str | None:
    """Return which of these commands a user may not run on keys of ``space``, and what grants them; None if all.

    All are sent for a key that does not exist, ``SET`` with ``XX``, so that they write nothing.
    """
    probe = probe_key(space).encode()
    for client in clients:
        commands = [_KEYLESS.get(verb) or (verb, probe, *_ARGUMENTS.get(verb, ())) for verb in verbs]
        answers = runner(client).run(commands)
        if denied := [verb.decode() for verb, answer in zip(verbs, answers, strict=True) if is_denied(answer)]:
            return what_to_grant(client, space, denied)
    return None


def refused_write(clients: Sequence[Any], space: KeySpace) -> str | None:
    """Return why a server accepts no writes now (a replica, no memory, a failing disk or replicas); None if it does."""
    for client in clients:
        (answer,) = runner(client).run([(b"SET", probe_key(space).encode(), *_WRITES_NOTHING)])
        if isinstance(answer, Exception):
            message = error_summary(answer).rstrip(".")
            return f"its server accepts no writes ({message}). Run the command again when it does, or name its primary"
    return None


def what_to_grant(client: Any, space: KeySpace, verbs: Sequence[str]) -> str:
    """Return which commands a user may not run on keys of ``space``, and what grants them."""
    rights = " ".join(f"+{verb.lower()}" for verb in verbs)
    return (
        f"its user may not run {listed(verbs)} on keys such as {space.raw('…')}. Grant that for the copy with "
        f"ACL SETUSER {user_of(client)} {rights} '~{escaped_glob(space.raw(''))}*', or name the server in CACHES by a "
        "user that may"
    )
