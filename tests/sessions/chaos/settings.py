"""The site's settings for a worker; MIGRATOR_TEST_CHAOS says where the run's files are and which stores it has."""

import json
import os
from pathlib import Path

from tests.sessions.settings import *  # noqa: F403
from tests.sessions.settings import CACHES as SITE_CACHES

_given = json.loads(os.environ["MIGRATOR_TEST_CHAOS"])
RUN = Path(_given["run"])
WORKER = int(_given["worker"])
CACHES = {**SITE_CACHES, "private": _given["cache"]}
SESSION_ENGINE = "migrator.sessions.transition"
MIGRATOR = {
    "SESSIONS": {**_given["sides"], "PHASE": "tests.sessions.chaos.settings.phase", "TALLY": "cache:redis_other"}
}


def phase() -> str:
    """Read the phase that this worker has been deployed with."""
    return (RUN / f"phase.{WORKER}").read_text()
