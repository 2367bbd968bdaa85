"""Whether a server is on this machine, or across a network on which others may listen or answer."""

from __future__ import annotations

import ipaddress


def is_on_this_machine(host: str) -> bool:
    """Whether a host name is a local socket or the loopback interface; names are not resolved."""
    if host in ("", "localhost") or host.startswith(("/", "@")):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
