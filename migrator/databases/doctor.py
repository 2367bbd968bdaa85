"""``migrator_doctor``: all checks of a plan, and what they depend on: versions, drivers, servers and their settings."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import django

from .. import __version__
from ..conf import load
from ..console.interrupts import Interrupts
from ..console.progress import Progress
from ..console.wording import plural
from ..errors import Refused
from .endpoints import open_endpoints
from .engines.base.engine import Engine
from .engines.base.session_lifecycle import DatabaseInfo
from .findings import Finding
from .journal.journal import Journal
from .planning.checks import Check, CheckResult, Outcome
from .planning.plan import Plan
from .planning.plan_request import PlanRequest
from .planning.preflight import make_plan
from .planning.rows_of_migrations import Made
from .planning.selection import select
from .planning.table_names import named_for


@dataclass(frozen=True)
class Side:
    """One database: its driver, and the settings of its server that matter for a run."""

    database: DatabaseInfo
    driver: str
    settings: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Diagnosis:
    """What the checks found. Without the ``plan``, the databases could not be opened as source and destination."""

    versions: tuple[tuple[str, str], ...]
    checks: tuple[CheckResult, ...]
    plan: Plan | None = None
    source: Side | None = None
    dest: Side | None = None

    def count(self, outcome: Outcome) -> int:
        """How many checks ended like this."""
        return sum(result.outcome is outcome for result in self.checks)

    @property
    def exit_code(self) -> int:
        """1 if a check failed, as the run would be refused then, and otherwise 0."""
        return 1 if self.count(Outcome.FAILED) else 0


def migrator_doctor(
    *,
    source: str,
    dest: str,
    labels: Sequence[str] = (),
    exclude: Sequence[str] = (),
    progress: Progress | None = None,
) -> Diagnosis:
    """Make every check of a plan to copy the tables of the project's models, as with ``--migrate``. Writes nothing.

    Raises :exc:`~migrator.errors.UsageError` for unknown aliases and labels.
    """
    settings, progress = load(), progress or Progress()
    versions = (("Python", platform.python_version()), ("Django", django.get_version()), ("migrator", __version__))
    with named_for(source, dest), Interrupts():
        selection = select(source=source, dest=dest, labels=labels, exclude=exclude)
        progress.message(f"Checking {plural(len(selection.tables), 'table')} in both databases …")
        try:
            with open_endpoints(source, dest, settings, selection.names, is_dry=True) as endpoints:
                journal = Journal(dest)
                made = Made(journal.made_by_migrations())
                request = PlanRequest(is_whole=not labels, will_migrate=True, made=made)
                plan = make_plan(endpoints, selection, request)
                checks = (*plan.checks, CheckResult(Check.RUN, tuple(_unfinished(journal))))
                sides = [_side(engine) for engine in (endpoints.source, endpoints.dest)]
                return Diagnosis(versions, checks, plan, *sides)
        except Refused as refused:
            return Diagnosis(versions, tuple(_without_connections(f"{source} and {dest}", refused)))


def _side(engine: Engine) -> Side:
    module: Any = vars(type(engine.connection))["Database"]
    driver = f"{module.__name__} {vars(module).get('__version__', '')}".strip()
    return Side(engine.describe(), driver, tuple(engine.server_settings()))


def _unfinished(journal: Journal) -> Iterator[Finding]:
    if run := journal.current():
        text = f"it holds an unfinished run ({run.holder()})"
        yield Finding(journal.alias, text, "Complete it with --resume, or abandon it with --cleanup.")


def _without_connections(subject: str, refused: Refused) -> Iterator[CheckResult]:
    yield CheckResult(Check.CONNECTED, (Finding(subject, str(refused), ""),))
    for check in Check:
        if check is not Check.CONNECTED and PlanRequest().mode in check.modes:
            yield CheckResult(check, is_made=False)
