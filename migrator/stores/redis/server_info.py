"""What a Redis server or cluster reports about itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import Refused
from ...local_hosts import is_on_this_machine
from ...server_errors import error_summary


def server_info(client: Any, alias: str) -> Mapping[str, Any]:
    """Return the reply to INFO, of a cluster that of its first node. Raises :exc:`Refused` if no server answers."""
    try:
        info = client.info()
    except (TypeError, ValueError):
        raise  # the client rejects LOCATION or OPTIONS
    except Exception as error:
        if type(error).__name__ in ("ConnectionError", "TimeoutError", "AuthenticationError"):
            raise Refused(
                f"The cache {alias!r} does not answer ({error_summary(error).rstrip('.')}). {_what_to_do(error)}"
            ) from error
        return {}  # INFO is forbidden to some users
    if "redis_version" in info:
        return dict(info)
    return dict(next((node for node in info.values() if isinstance(node, dict)), {}))


def _what_to_do(error: Exception) -> str:
    text = str(error).upper()
    if "HOSTNAME MISMATCH" in text or "IP ADDRESS MISMATCH" in text:
        return "In LOCATION, use a host name that the server's certificate is valid for."
    if "EXPIRED" in text or "NOT YET VALID" in text:
        return "Renew its certificate, or correct the clocks."
    if "CERTIFICATE" in text:
        return "Name the certificate authority with ssl_ca_certs in OPTIONS or in LOCATION."
    if "SSL" in text:
        return "Check whether the server uses TLS on that port: rediss:// in LOCATION requires it."
    return "Check its LOCATION, rediss:// or redis://, and the server."


def address_of(client: Any) -> str:
    """Return the address of the server for people, without a password."""
    if hasattr(client, "get_primaries"):
        nodes = sorted(f"{node.host}:{node.port}" for node in client.get_primaries())
        return f"cluster of {', '.join(nodes)}"
    known = client.connection_pool.connection_kwargs
    if service := getattr(client.connection_pool, "service_name", None):
        return f"{service} by its sentinels/{known.get('db') or 0}"
    where = known.get("path") or f"{known.get('host')}:{known.get('port')}"
    return f"{where}/{known.get('db') or 0}"


def identities(client: Any) -> frozenset[str]:
    """Return names of the server and its database that are the same for every client."""
    if hasattr(client, "get_primaries"):
        return frozenset(f"{node.host}:{node.port}/0" for node in client.get_primaries())
    database = client.connection_pool.connection_kwargs.get("db") or 0
    try:
        return frozenset({f"{client.info('server')['run_id']}/{database}"})
    except Exception:
        return frozenset({address_of(client)})  # the server does not report its id


def is_interceptable(client: Any) -> bool:
    """Whether others in the network can read the connection to a remote server, or answer in its place."""
    if hasattr(client, "get_primaries"):
        hosts, known = [node.host for node in client.get_primaries()], client.get_connection_kwargs()
        has_tls = bool(known.get("ssl"))
    else:
        known = client.connection_pool.connection_kwargs
        hosts = [str(known.get("host") or "")]
        has_tls = "SSL" in client.connection_pool.connection_class.__name__
    is_checked = "none" not in str(known.get("ssl_cert_reqs", "required")).lower()
    return not (has_tls and is_checked) and not all(map(is_on_this_machine, hosts))


def count_of(client: Any, name: str) -> int:
    """Return one of the server's counters, of a cluster the sum."""
    try:
        info = client.info("stats")
    except Exception:
        return 0  # not allowed, or not known
    if name in info:
        return int(info[name])
    return sum(int(node.get(name, 0)) for node in info.values() if isinstance(node, dict))
