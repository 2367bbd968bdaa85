"""TCP keepalive of a connection, so that this end notices when the other one is gone, whatever the driver offers."""

from __future__ import annotations

import os
import socket

PROBES = 4


def set_keepalive(descriptor: int, seconds: int) -> None:
    """Make the kernel end a connection without a sign of life for ``seconds``; by default it waits for hours.

    A connection that isn't TCP ends with the server and stays as it is. The options are those of tcp(7).
    """
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        if connection.family not in (socket.AF_INET, socket.AF_INET6):
            return
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        probing = max(1, seconds // 2)
        options = {
            "TCP_KEEPIDLE": max(1, seconds - probing),
            "TCP_KEEPINTVL": max(1, probing // PROBES),
            "TCP_KEEPCNT": min(PROBES, probing),
            # For data that was sent and not acknowledged: nothing is probed then.
            "TCP_USER_TIMEOUT": seconds * 1000,
        }
        for name, value in options.items():
            if hasattr(socket, name):  # each system has some of them
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
