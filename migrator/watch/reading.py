"""Reads for the pages, which wait for a database or a cache only for a moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured

from ..console.wording import duration_text
from ..errors import Refused, UsageError
from ..processes.shared_reads import begin_read

WAIT_SECONDS = 3.0
T = TypeVar("T")


def read_briefly(kind: str, name: str, read: Callable[[], T]) -> T:
    """Return what ``read`` returns; raise what it raises, and :exc:`Refused` if it takes too long.

    ``kind`` and ``name`` say what is read: visitors at the same time share one read.
    """
    reading = begin_read(kind, name, read)
    try:
        return reading.result(WAIT_SECONDS - reading.seconds)
    except TimeoutError:
        waited = duration_text(reading.seconds)
        raise Refused(f"{name!r} does not answer: nothing was received for {waited}.") from None
    except ImproperlyConfigured as error:
        raise UsageError(str(error)) from None
