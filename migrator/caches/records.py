"""What crosses the stages of a cache's copy: options and the plan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..stores.copying.records import CopyPlan, PassOptions


@dataclass(frozen=True)
class CacheOptions(PassOptions):
    """How to copy. ``keys_from``: a file of keys to copy, one on each line, instead of listing them."""

    keys_from: Path | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class CachePlan(CopyPlan[CacheOptions]):
    """What a copy would do. ``encoding`` says how values are copied, ``own`` how many keys of migrator's are not."""

    encoding: str = ""
    own: int = 0
