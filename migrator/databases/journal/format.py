"""The version of the journal's format, which decides whether a release can resume a run that another one began."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ... import __version__

# To be raised whenever a stored word changes its meaning: the columns of the journal, the states of runs and chunks,
# the text of keys (keys.encode_key), the record of dropped objects, and what an identity has of kinds and ways.
FORMAT = 1
# The key of an identity under which a run has the format and the release that wrote it.
KEY = "journal"
DISTRIBUTION = "django-bulk-migrator"  # on a package index; the name of pyproject.toml
# Checkouts from before the first release wrote no stamp; what they wrote is format 1.
_UNSTAMPED: Mapping[str, Any] = {"format": 1, "release": "0.1.0"}


@dataclass(frozen=True)
class WrittenIn:
    """The format in which a run was recorded, and the release of migrator that recorded it."""

    format: Any
    release: str

    @property
    def is_ours(self) -> bool:
        """Whether this release reads the format."""
        return bool(self.format == FORMAT)

    @property
    def way_to_it(self) -> str:
        """Return the release, with the command that installs it."""
        return f"migrator {self.release} (pip install {DISTRIBUTION}=={self.release})"


def stamped(identity: Mapping[str, Any], rows: Mapping[str, int], hint: str = "") -> dict[str, Any]:
    """Return an identity with this release and its format, and with what those read who ask how far the run is.

    ``rows``: how many are to be copied, by table. ``hint``: how to continue the run.
    """
    return {**identity, KEY: {"format": FORMAT, "release": __version__, "rows": dict(rows), "hint": hint}}


def with_outcome(recorded: Mapping[str, Any], outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recorded identity with how its run has ended, for a journal that is kept."""
    return {**recorded, KEY: {**recorded.get(KEY, _UNSTAMPED), "outcome": dict(outcome)}}


def noted(recorded: Mapping[str, Any], name: str) -> Any:
    """Return what the stamp of a recorded identity has under a name, None if it has nothing."""
    return recorded.get(KEY, _UNSTAMPED).get(name)


def unstamped(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recorded identity without its stamp."""
    return {name: value for name, value in recorded.items() if name != KEY}


def written_in(recorded: Mapping[str, Any]) -> WrittenIn:
    """Return what the stamp of a recorded identity says."""
    stamp = recorded.get(KEY, _UNSTAMPED)
    return WrittenIn(stamp["format"], str(stamp["release"]))
