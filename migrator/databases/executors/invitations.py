"""The invitation of workers to begin the snapshot together with the command, where none can join it later."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from ..engines.base.run_locks import MOST_PROCESSES, MOST_WORKERS
from ..engines.base.shared_snapshots import Invitation
from .brokers import Broker, NotSent
from .messages import JoinMessage, invitation_name

# Of executors that do not say how many processes they have.
EXPECTED_PROCESSES = 8


def invitation_by(broker: Broker, source: str, dest: str, check: Callable[[], None]) -> Invitation | None:
    """Return the invitation of all processes of the workers that answer; ``None`` if no worker does, or no broker.

    ``check`` is called while the command waits for them.
    """
    try:
        processes = broker.processes()
    except NotSent:
        return None
    if processes == 0:
        return None
    sessions = min(processes or EXPECTED_PROCESSES, MOST_WORKERS - MOST_PROCESSES)

    def send() -> None:
        with suppress(NotSent):  # the plan says how many have come
            for seat in range(sessions):
                broker.send(JoinMessage(broker.run, source, dest, seat))

    return Invitation(invitation_name(broker.run), sessions, send, check)
