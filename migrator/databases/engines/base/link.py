"""The network link under a connection: made to notice that the other end is gone, whatever the driver offers."""

from __future__ import annotations

import os
import socket

PROBES = 4


def watch(descriptor: int, seconds: int) -> None:
    """Let the kernel end a link that shows no sign of life for some seconds; without that it waits for hours.

    A link that is no TCP ends with the server, and is left alone.
    """
    with socket.socket(fileno=os.dup(descriptor)) as link:
        if link.family not in (socket.AF_INET, socket.AF_INET6):
            return
        link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        probing = max(1, seconds // 2)
        options = {
            "TCP_KEEPIDLE": max(1, seconds - probing),
            "TCP_KEEPINTVL": max(1, probing // PROBES),
            "TCP_KEEPCNT": min(PROBES, probing),
            # For what was sent and is not acknowledged, when nothing is probed.
            "TCP_USER_TIMEOUT": seconds * 1000,
        }
        for name, value in options.items():
            if hasattr(socket, name):  # each system knows some of them
                link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
