"""What one process knows of a transition, whichever of its threads found it out."""

from __future__ import annotations

from dataclasses import dataclass

from .owed_deletions import OwedDeletions


@dataclass
class Worker:
    """The moments are those of ``time.monotonic()``."""

    owed: OwedDeletions
    # When the fence in NEW is renewed, and when OLD is searched for one that a copy has brought there.
    fence_due: float = 0.0
    cleaning_due: float = 0.0
    # When the fence is to be lifted, infinite once that is done; each arrival in another phase than dual_old resets it.
    lifting_due: float = 0.0
    # When the servers are asked whether OLD and NEW are one store, and what they answered.
    probe_due: float = 0.0
    is_same_store: bool = False
    shares_given_versions: bool = False
