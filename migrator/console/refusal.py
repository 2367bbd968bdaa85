"""What a command reports that an error has ended."""

from __future__ import annotations

from typing import Any

from ..errors import ERROR_SCHEMA, DataRejected, Declined, Interrupted, MigratorError, Refused
from .reports import Mood, Point, Report, Verdict

WORDS = {Refused: "REFUSED", Declined: "NOT STARTED", Interrupted: "INTERRUPTED", DataRejected: "STOPPED"}
FIX = "Fix what is listed above, and run the command again."
_PROBLEM = "  - "


def refusal_report(
    command: str, error: MigratorError, preface: Report | None = None, *, is_dry_run: bool = False
) -> Report:
    """Return the report of an error: its problems as points, and the rest of its lines as what to do next.

    ``preface`` is what the command had shown before.
    """
    first, *others = str(error).split("\n")
    word = WORDS.get(type(error), "FAILED")
    lines = [line for line in others if line.strip()]
    points = tuple(Point(Mood.BAD, line.removeprefix(_PROBLEM)) for line in lines if line.startswith(_PROBLEM))
    steps = [FIX] if points else []
    steps += [line.strip() for line in lines if not line.startswith(_PROBLEM)]
    document: dict[str, Any] = {"schema": ERROR_SCHEMA, "error": str(error)}
    if isinstance(error, Refused) and error.findings:
        document["findings"] = list(error.findings)
    return Report(
        title=preface.title if preface else command,
        verdict=Verdict(Mood.BAD, word, f"{first.removesuffix(':')}." if first.endswith(":") else first),
        points=points,
        next=tuple(steps),
        document=document,
        exit_code=error.exit_code,
        preface=preface,
        is_dry_run=is_dry_run,
    )
