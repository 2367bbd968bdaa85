"""Triggers of a destination: what the plan reports of them, and how one transaction keeps them from firing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ...console.wording import shortened
from ..engines.base.catalogue import TRIGGER, DeferredObject
from ..engines.base.engine import Engine
from ..findings import Finding

SHOWN = 5
UNWRITTEN = "what they write elsewhere is not written"
OTHERS = "Anyone else who writes to these tables waits for the run's transaction, and finds the triggers on."
CANNOT = (
    "Connect as the role that owns their tables, disable them for the run, or pass --keep-triggers to let them fire."
)
DEPENDING = "Pass --keep-triggers if tables that are not copied depend on them."

Name = tuple[str, str]  # of a table, and of its trigger


@contextmanager
def without_triggers(dest: Engine, tables: Sequence[str]) -> Iterator[None]:
    """Keep the triggers of tables from firing for what the current transaction writes.

    Nobody else sees them off: until the transaction ends, its lock makes other writers to these tables wait
    (PostgreSQL's manual, ALTER TABLE: DISABLE TRIGGER takes SHARE ROW EXCLUSIVE). A rollback, also that of a session
    that was killed, leaves them as they were. Changes nothing if the engine cannot do this.
    """
    off = dest.catalogue.silenceable_triggers(tables)
    for trigger in off:
        dest.execute(trigger.drop_sql.replace("%", "%%"))
    yield
    if off:
        dest.bind_now()  # a table with constraints left to check cannot be altered
    for trigger in off:
        dest.execute(trigger.create_sql.replace("%", "%%"))


@dataclass(frozen=True)
class Triggers:
    """The destination's triggers in a run: what the plan reports, and the tables on which they fire unasked."""

    findings: tuple[Finding, ...] = ()
    firing: frozenset[str] = frozenset()


def look_at_triggers(
    dest: Engine, tables: Sequence[str], taken_off: Sequence[DeferredObject], *, silences: bool, keeps: bool
) -> Triggers:
    """Find out which of the destination's triggers fire for the rows of a run, and which do not.

    ``taken_off``: what is off for the whole run; ``silences``: each transaction of the run switches them off for
    itself; ``keeps``: they fire because that was asked for.
    """
    off = _names(item for item in taken_off if item.kind == TRIGGER)
    silenced = _names(dest.catalogue.silenceable_triggers(tables)) if silences else []
    firing = [name for name in dest.catalogue.triggers(tables) if name not in (*off, *silenced)]
    findings = []
    if off:
        text = f"triggers there are off while rows are loaded, so that {UNWRITTEN}: {_listed(off)}"
        findings.append(Finding(dest.alias, text, DEPENDING, stops=False))
    if silenced:
        text = f"triggers there do not fire for the rows of this run, so that {UNWRITTEN}: {_listed(silenced)}"
        findings.append(Finding(dest.alias, text, f"{OTHERS} {DEPENDING}", stops=False))
    if firing:
        findings.append(_firing(dest, firing, stops=silences and dest.features.can_silence_triggers))
    return Triggers(tuple(findings), frozenset() if keeps else frozenset(table for table, _ in firing))


def _firing(dest: Engine, firing: Sequence[Name], *, stops: bool) -> Finding:
    if stops:
        text = f"triggers there would fire for every row, and this user cannot switch them off: {_listed(firing)}"
        return Finding(dest.alias, text, CANNOT)
    text = f"triggers there fire for every row that is loaded: {_listed(firing)}"
    return Finding(dest.alias, text, "Disable them during the run if they change rows or write others.", stops=False)


def _names(items: Iterable[DeferredObject]) -> list[Name]:
    return list(dict.fromkeys((item.table, item.name) for item in items))


def _listed(names: Sequence[Name]) -> str:
    return shortened([f"{table}.{name}" for table, name in names], SHOWN)
