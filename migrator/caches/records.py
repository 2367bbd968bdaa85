"""What crosses the stages of a cache's copy: options and the plan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..console.command_line import option
from ..stores.copying.records import CopyPlan, PassOptions


@dataclass(frozen=True)
class CacheOptions(PassOptions):
    """How to copy: each field is an option of ``copy_cache``."""

    keys_from: Path | None = option(
        None, "Copy the keys in FILE, one per line, instead of listing the keys.", type=Path, metavar="FILE"
    )
    overwrite: bool = option(False, "Overwrite keys that the destination has with another value (default: leave them).")


@dataclass(frozen=True)
class CachePlan(CopyPlan[CacheOptions]):
    """What a copy would do. ``encoding`` says how values are copied, ``own`` how many keys of migrator's are not."""

    encoding: str = ""
    own: int = 0
