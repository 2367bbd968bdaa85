"""The session of a worker that begins the snapshot of the source together with the command."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from django.db import Error

from ...errors import MigratorError
from ..engines.base.engine import Engine
from .messages import JoinMessage, invitation_name
from .own_sessions import close_all, open_own

logger = logging.getLogger("migrator.worker")


@dataclass(frozen=True)
class EnlistedSource:
    """A worker's session that has begun the snapshot of a command, before the run has a briefing."""

    run: str
    engine: Engine

    def is_wanted(self) -> bool:
        """Whether the command still exists."""
        try:
            return self.engine.is_command_there()
        except (Error, MigratorError):
            return False

    def close(self) -> None:
        """End the session."""
        close_all([self.engine])


def enlist(message: JoinMessage, why_impossible: str | None) -> EnlistedSource | None:
    """Begin the snapshot of a message's command in a session of this worker; return ``None`` if it has begun none.

    Nothing is reported to the command, which has written nothing yet and may not: it counts those that have come.
    """
    if why_impossible:
        logger.warning("This worker cannot take part in a run: %s.", why_impossible)
        return None
    engine = open_own(message.source)
    try:
        if engine.begin_with_command(invitation_name(message.run), message.seat):
            return EnlistedSource(message.run, engine)
    except BaseException:
        close_all([engine])
        raise
    close_all([engine])
    return None
