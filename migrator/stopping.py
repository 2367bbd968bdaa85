"""Signals end a copy between two pages: what was copied stays, and the same command is run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .errors import Interrupted
from .interrupts import Interrupts, telling_plainly

HOW_TO_GO_ON = "What was written stays; run the same command again."


@contextmanager
def stopping_between_pages() -> Iterator[Callable[[], None]]:
    """Give a function to call between pages, which raises :exc:`Interrupted` once a signal has come."""
    with Interrupts() as interrupts:
        interrupts.defer(HOW_TO_GO_ON)
        try:
            with telling_plainly():
                yield interrupts.check
        except Interrupted as error:
            raise Interrupted(f"{error} {HOW_TO_GO_ON}", error.exit_code - 128) from error
