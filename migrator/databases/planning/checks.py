"""The checks that a plan consists of, by name: whether each was made, and what it found."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..findings import Finding
from .plan_request import Mode, PlanRequest

EVERY = frozenset(Mode)
WHOLE = EVERY - {Mode.ADD}


class Check(enum.Enum):
    """A check, with its id in documents, what is right if it passes, and the modes of a run in which it is made."""

    CONNECTED = "connections", "Both databases answer, and are not the same one"
    WRITABLE = "writable", "The destination can be written"
    ENCRYPTION = "encryption", "Connections to remote servers are encrypted and verified"
    MIGRATIONS = "migrations", "Both databases have the project's migrations, and no newer ones"
    TABLES = "tables", "Both databases have the tables and columns of the models"
    TYPES = "column-types", "The types of columns can hold what their fields can"
    FEED = "changes", "The source reports which rows change, so that it can be followed", frozenset[Mode]()
    PROCESSES = "processes", "As many processes can copy as were asked for"
    UNFINISHED = "unfinished-run", "The source is not the destination of an unfinished run"
    VISIBILITY = "rights", "This user sees all rows, and may read and insert them"
    LOADING = "loading", "The destination's tables can be loaded and emptied"
    SNAPSHOT = "snapshot", "The source can be read in one snapshot while others write to it"
    BULK_LOADING = "bulk-loading", "The destination's fastest way of loading is available"
    KEYS = "primary-keys", "Rows of large tables are found by an index of their primary key"
    COLLATIONS = "collations", "Texts that are equal in the source are equal in the destination"
    VALUES = "values", "Every value of the source fits its column in the destination"
    CONSTRAINTS = "constraints", "Every row meets the destination's unique and check constraints"
    ENTRIES = "index-entries", "Every row fits into the destination's indexes"
    UNMOVABLE = "unmovable-columns", "Every column can be converted"
    UPDATABLE = "updatable", "Rows can be rewritten without changing others", frozenset({Mode.UPDATE})
    ADDED = "added-rows", "No row has a key of the destination, and all have their parents", frozenset({Mode.ADD})
    DIRECTION = "direction", "The source is not empty while the destination holds rows", WHOLE
    ORPHANS = "orphans", "Every foreign key of the source has a parent row", WHOLE
    OWNERSHIP = "ownership", "This user can drop and recreate the destination's foreign keys", WHOLE
    PARENTS = "parents", "Rows that refer to tables outside of the run have their parents", WHOLE
    OUTSIDE = "references-from-outside", "No other table refers to rows that are emptied", WHOLE
    TRIGGERS = "triggers", "No trigger of the destination changes what the run writes"
    SPACE = "space", "The destination's disk has room for the rows, as far as that is known"
    # Not of a plan: a run that resumes or abandons an unfinished one has a plan, too.
    RUN = "run-in-destination", "No unfinished run is recorded in the destination", frozenset[Mode]()

    def __init__(self, id: str, title: str, modes: frozenset[Mode] = EVERY) -> None:
        self.id, self.title, self.modes = id, title, modes


# They pass over tables that ``--migrate`` will create first, and are made when these exist.
OF_TABLES = frozenset({
    Check.TYPES,
    Check.LOADING,
    Check.KEYS,
    Check.COLLATIONS,
    Check.VALUES,
    Check.CONSTRAINTS,
    Check.ENTRIES,
    Check.UNMOVABLE,
    Check.ADDED,
    Check.ORPHANS,
    Check.OWNERSHIP,
    Check.PARENTS,
    Check.OUTSIDE,
    Check.TRIGGERS,
})  # fmt: skip


class Outcome(enum.StrEnum):
    """How a check ended."""

    PASSED = "passed"
    WARNING = "warning"
    FAILED = "failed"
    NOT_MADE = "not made"


@dataclass(frozen=True)
class CheckResult:
    """A check and its findings; one that was not made found nothing."""

    check: Check
    findings: tuple[Finding, ...] = ()
    is_made: bool = True

    @property
    def outcome(self) -> Outcome:
        """A finding that stops a run makes its check fail, another one is a warning."""
        if not self.is_made:
            return Outcome.NOT_MADE
        if any(finding.stops for finding in self.findings):
            return Outcome.FAILED
        return Outcome.WARNING if self.findings else Outcome.PASSED


class Findings:
    """Collects the findings of checks while a plan is made."""

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self._by_check: dict[Check, list[Finding]] = {}

    def add(self, check: Check, findings: Iterable[Finding] = ()) -> list[Finding]:
        """Make a check: note its findings, and return them."""
        added = list(findings)
        self.found += added
        self._by_check.setdefault(check, []).extend(added)
        return added

    @property
    def stopping(self) -> list[Finding]:
        """The findings so far that stop a run."""
        return [finding for finding in self.found if finding.stops]

    def results(self, request: PlanRequest, *, awaits_tables: bool) -> Iterator[CheckResult]:
        """Yield the checks of a plan: those that were made, and those that earlier findings have prevented.

        With ``awaits_tables`` some tables do not exist yet, so checks of tables that found nothing were not made.
        """
        for check in Check:
            if check in self._by_check:
                found = tuple(self._by_check[check])
                yield CheckResult(check, found, is_made=bool(found) or not (awaits_tables and check in OF_TABLES))
            elif request.mode in check.modes and not request.is_resumed:
                yield CheckResult(check, is_made=False)
