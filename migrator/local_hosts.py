"""Where a server is reached: on this machine, or over a network on which others may listen or answer."""

from __future__ import annotations

import ipaddress


def is_on_this_machine(host: str) -> bool:
    """Tell whether a host's name means a local socket or the loopback interface; names are not looked up."""
    if host in ("", "localhost") or host.startswith(("/", "@")):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
