"""What a run is asked to do, as far as its plan depends on it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..chunks import Restriction
from ..findings import Finding
from .rows_of_migrations import NOT_MIGRATED, NOTHING_MADE, Made, Migrated


class Mode(enum.Enum):
    """What a run does with the rows that the destination's tables hold before it."""

    REPLACE = "empty the tables first"
    ADD = "keep the rows"
    UPDATE = "write only what differs from the source"


@dataclass(frozen=True)
class PlanRequest:
    """What a plan is asked for."""

    mode: Mode = Mode.REPLACE
    # The run was interrupted: the rows in the destination are its own.
    is_resumed: bool = False
    # The run copies all tables of the project.
    is_whole: bool = True
    keeps_indexes: bool = False
    # The destination's triggers fire for the rows of the run.
    keeps_triggers: bool = False
    # Rows that the destination cannot store are rejected; otherwise they stop the run.
    skips_rows: bool = False
    # The run ends with a comparison of all values.
    compares_values: bool = False
    # The source's rows are checked.
    checks_contents: bool = True
    # The rows to copy, by table name; all rows of a table without a restriction.
    restrictions: Mapping[str, Restriction | None] = field(default_factory=dict)
    # The destination's tables will be created or changed by ``--migrate`` first.
    will_migrate: bool = False
    # ``--migrate`` will run the ``post_migrate`` handlers again, because one of them failed.
    will_run_handlers: bool = False
    # What this very command has migrated in the destination already.
    migrated: Migrated = NOT_MIGRATED
    # The command itself names the destination whose rows it replaces, so there is no prompt.
    is_confirmed: bool = False
    # The source's changes are followed after the copy.
    follows: bool = False
    # The workers on other hosts that are to copy chunks, in words, and what was found about them.
    workers: str = ""
    worker_findings: tuple[Finding, ...] = ()
    # The rows in the destination that migrations are known to have made.
    made: Made = NOTHING_MADE

    @property
    def adds_rows(self) -> bool:
        """Whether the destination keeps its rows."""
        return self.mode is Mode.ADD

    @property
    def updates(self) -> bool:
        """Whether only what differs is written."""
        return self.mode is Mode.UPDATE
