"""How long a run and its phases took, for documents."""

from __future__ import annotations

from typing import Any

from ..result import RunResult


def times_document(result: RunResult) -> dict[str, Any]:
    """Describe for programs where the time went; the phases' seconds add up to ``seconds``."""
    return {
        "seconds": round(result.seconds, 3),
        "seconds_waiting": round(result.seconds_waiting, 3),
        "timings": [{"phase": phase, "seconds": round(spent, 3)} for phase, spent in result.timings],
    }
