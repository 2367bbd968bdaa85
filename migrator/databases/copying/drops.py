"""What is dropped before rows are loaded or deleted, many objects in one statement if the engine can."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from django.db import Error

from ..engines.base.catalogue import DeferredObject
from ..engines.base.engine import Engine
from .retry import Retries, once

TOGETHER = 50  # each keeps its locks until the last one is dropped


def drop_objects(dest: Engine, items: Sequence[DeferredObject], retries: Retries) -> None:
    """Drop those of these objects that exist, in this order; one by one if some cannot be dropped together."""
    for start in range(0, len(items), TOGETHER):
        batch = items[start : start + TOGETHER]
        if not _drop_together(dest, batch, retries):
            for item in batch:
                retries.run(partial(dest.catalogue.drop, [item]))


def _drop_together(dest: Engine, items: Sequence[DeferredObject], retries: Retries) -> bool:
    def drop() -> bool:
        dest.catalogue.drop(items)
        return True

    try:
        return bool(retries.run(once(drop)))
    except Error:
        return False
