"""Triggers of a destination: what the plan reports about them, and how one transaction disables them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ...console.wording import shortened
from ..engines.base.catalogue import TRIGGER, DeferredObject
from ..engines.base.engine import Engine
from ..findings import Finding

SHOWN = 5
UNWRITTEN = "what they write to other tables is not written"
OTHERS = "Other writers to these tables wait for the run's transaction; for them, the triggers are enabled."
CANNOT = (
    "Connect as the role that owns their tables, disable them for the run, or pass --keep-triggers to let them fire."
)
DEPENDING = "Pass --keep-triggers if tables that are not copied depend on them."

Name = tuple[str, str]  # of a table, and of its trigger


@contextmanager
def without_triggers(dest: Engine, tables: Sequence[str]) -> Iterator[None]:
    """Disable the triggers of tables for the writes of the current transaction.

    No other session sees them disabled: until the transaction ends, its lock makes other writers to these tables wait
    (PostgreSQL's manual, ALTER TABLE: DISABLE TRIGGER takes SHARE ROW EXCLUSIVE). A rollback, including that of a
    killed session, restores them. Does nothing if the engine has no such statement.
    """
    off = dest.catalogue.silenceable_triggers(tables)
    for trigger in off:
        dest.execute(trigger.drop_sql.replace("%", "%%"))
    yield
    if off:
        dest.bind_now()  # a table with pending constraint checks cannot be altered
    for trigger in off:
        dest.execute(trigger.create_sql.replace("%", "%%"))


@dataclass(frozen=True)
class Triggers:
    """The destination's triggers in a run: the findings, and the tables on which they fire without --keep-triggers."""

    findings: tuple[Finding, ...] = ()
    firing: frozenset[str] = frozenset()


def check_triggers(
    dest: Engine, tables: Sequence[str], deferred: Sequence[DeferredObject], *, disables: bool, keeps: bool
) -> Triggers:
    """Return which of the destination's triggers fire for the rows of a run, and which do not.

    ``deferred``: what is dropped or disabled for the whole run; ``disables``: each transaction of the run disables them
    for itself; ``keeps``: they fire, as --keep-triggers demands.
    """
    disabled = _names(item for item in deferred if item.kind == TRIGGER)
    suspended = _names(dest.catalogue.silenceable_triggers(tables)) if disables else []
    firing = [name for name in dest.catalogue.triggers(tables) if name not in (*disabled, *suspended)]
    findings = []
    if disabled:
        text = f"triggers there are disabled while rows are loaded, so {UNWRITTEN}: {_listed(disabled)}"
        findings.append(Finding(dest.alias, text, DEPENDING, stops=False))
    if suspended:
        text = f"triggers there do not fire for the rows of this run, so {UNWRITTEN}: {_listed(suspended)}"
        findings.append(Finding(dest.alias, text, f"{OTHERS} {DEPENDING}", stops=False))
    if firing:
        findings.append(_firing(dest, firing, stops=disables and dest.features.can_silence_triggers))
    return Triggers(tuple(findings), frozenset() if keeps else frozenset(table for table, _ in firing))


def _firing(dest: Engine, firing: Sequence[Name], *, stops: bool) -> Finding:
    if stops:
        text = f"triggers there would fire for every row, and this user cannot disable them: {_listed(firing)}"
        return Finding(dest.alias, text, CANNOT)
    text = f"triggers there fire for every row that is loaded: {_listed(firing)}"
    return Finding(
        dest.alias, text, "Disable them during the run if they change these rows or write others.", stops=False
    )


def _names(items: Iterable[DeferredObject]) -> list[Name]:
    return list(dict.fromkeys((item.table, item.name) for item in items))


def _listed(names: Sequence[Name]) -> str:
    return shortened([f"{table}.{name}" for table, name in names], SHOWN)
