"""The version of the journal's format, which decides whether a release can resume a run that another one began."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

# To be raised whenever a stored word changes its meaning: the columns of the journal, the states of runs and chunks,
# the text of keys (keys.encode_key), the record of dropped objects, and what an identity has of kinds and ways.
FORMAT = 1
# The key of an identity under which a run has the format and the release that wrote it. Releases before the first
# version of the format wrote no such key; what they wrote is format 1, and they ignore the key.
KEY = "journal"
DISTRIBUTION = "django-migrator"
EARLIER = "of an earlier release"


@dataclass(frozen=True)
class WrittenIn:
    """The format in which a run was recorded, and the release of migrator that recorded it."""

    format: Any
    release: str

    @property
    def is_ours(self) -> bool:
        """Whether this release reads the format."""
        return bool(self.format == FORMAT)


def stamped(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return an identity with this release and its format."""
    return {**identity, KEY: {"format": FORMAT, "release": this_release()}}


def unstamped(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recorded identity without its stamp."""
    return {name: value for name, value in recorded.items() if name != KEY}


def written_in(recorded: Mapping[str, Any]) -> WrittenIn:
    """Return what the stamp of a recorded identity says."""
    stamp = recorded.get(KEY)
    if stamp is None:
        return WrittenIn(1, EARLIER)
    return WrittenIn(stamp["format"], str(stamp["release"]))


def this_release() -> str:
    """Return the version of migrator that is installed."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:  # a copy of its source that was not installed
        return "of an unknown version"
