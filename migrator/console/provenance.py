"""Who ran which command, where, when, and with which versions: what a report needs to be evidence."""

from __future__ import annotations

import datetime as dt
import os
import platform
import pwd
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

import django

from .. import __version__


@dataclass(frozen=True)
class Provenance:
    """One call of a command. Nothing in it comes from the environment or from a password."""

    command: str
    started: dt.datetime
    ended: dt.datetime
    user: str
    host: str
    # By the name of what has the version.
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long the command took, with its start and the wait for the user's answer."""
        return (self.ended - self.started).total_seconds()


def provenance(command: str, started: dt.datetime, drivers: Mapping[str, str]) -> Provenance:
    """Describe a call that ends now; ``drivers`` are versions by name."""
    versions = {"migrator": __version__, "Django": django.get_version(), "Python": platform.python_version()}
    return Provenance(command, started, dt.datetime.now(dt.UTC), _user(), socket.gethostname(), {**versions, **drivers})


def _user() -> str:
    """Return the name of the user whose rights this process has, whatever the environment says."""
    number = os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # as in a container that runs under a number
        return f"user {number}"
