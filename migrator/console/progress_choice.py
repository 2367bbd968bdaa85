"""The choice of how progress is drawn."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from .progress import Progress
from .progress_bars import BarProgress
from .progress_lines import LineProgress


def progress_for(*, verbosity: int, shown: bool = True, stream: TextIO | None = None) -> Progress:
    """Choose how progress is drawn: bars on a terminal, lines elsewhere, nothing at verbosity 0.

    From verbosity 2 on, every step of a task writes a line, such as a chunk.
    """
    stream = stream or sys.stderr
    if verbosity == 0:
        return Progress()
    if verbosity > 1:
        return LineProgress(stream, every=0.0)
    if shown and stream.isatty() and _has_rows(stream):
        return BarProgress(stream)
    return LineProgress(stream)


def _has_rows(stream: TextIO) -> bool:
    """Whether a terminal has a size; tqdm writes empty lines to one without, such as a container's, instead of bars."""
    try:
        return os.get_terminal_size(stream.fileno()).lines > 0
    except (AttributeError, OSError, ValueError):  # an object that only acts as a terminal
        return True
