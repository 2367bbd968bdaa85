"""What a worker on another host has to know of a plan: what it would have to count or to check again by itself.

It makes the rest from its own models and from both catalogues, and compares the result with the digest of the plan: a
worker with other code, other models or another database does not take part.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import django

from ... import __version__
from ...errors import MigratorError
from ..endpoints import Endpoints
from ..planning.draft_plan import draft_groups
from ..planning.plan import Plan, TablePlan
from ..planning.plan_request import PlanRequest
from ..planning.selection import select
from ..planning.table_route import Route
from ..planning.transports import BinaryStream, ConvertedRows, TextStream, Transport

OWN_VERSIONS = {"migrator": __version__, "Django": django.__version__}


class OtherCode(MigratorError):
    """This worker would not copy rows as the command has planned it."""


@dataclass(frozen=True)
class TableBrief:
    """How one table travels, and how many rows the source has.

    ``transport`` is the name of its class. ``cheaper``: for each field of a text stream, whether it is rendered by the
    cheaper SQL. ``is_checked``: Python checks each value.
    """

    rows: int
    transport: str
    cheaper: tuple[bool, ...] = ()
    is_checked: bool = False


@dataclass(frozen=True)
class Briefing:
    """What a worker has to know of a plan. ``snapshot`` is the name under which it reads the source's snapshot."""

    snapshot: str
    labels: tuple[str, ...]
    exclude: tuple[str, ...]
    keeps_triggers: bool
    skips_rows: bool
    tables: Mapping[str, TableBrief]
    digest: str
    versions: Mapping[str, str] = dataclasses.field(default_factory=lambda: OWN_VERSIONS)

    @classmethod
    def of(cls, plan: Plan, snapshot: str) -> Briefing:
        """Return the briefing of a plan whose source is read in a snapshot of this name."""
        return cls(
            snapshot,
            plan.choice.labels,
            plan.choice.exclude,
            plan.request.keeps_triggers,
            plan.request.skips_rows,
            {planned.table.name: _brief(planned) for planned in plan.tables},
            _digest(plan),
        )

    def to_json(self) -> str:
        """Return the briefing as text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Briefing:
        """Return the briefing of a text. Raises :exc:`OtherCode` if another release of migrator has written it."""
        document = json.loads(text)
        if (versions := document.get("versions")) != OWN_VERSIONS:
            raise OtherCode(f"it has {_listed(OWN_VERSIONS)}, and the command has {_listed(versions or {})}")
        document["tables"] = {
            name: TableBrief(**{**brief, "cheaper": tuple(brief["cheaper"])})
            for name, brief in document["tables"].items()
        }
        for name in ("labels", "exclude"):
            document[name] = tuple(document[name])
        return cls(**document)

    def plan(self, endpoints: Endpoints) -> Plan:
        """Make the plan again, as far as chunks of it can be copied.

        Raises :exc:`OtherCode` if it is not the same.
        """
        source, dest = endpoints.source, endpoints.dest
        selection = select(source=source.alias, dest=dest.alias, labels=self.labels, exclude=self.exclude)
        tables = [table for table in selection.tables if table.name in self.tables]
        request = PlanRequest(keeps_triggers=self.keeps_triggers, skips_rows=self.skips_rows)
        rows = {name: (brief.rows, 0) for name, brief in self.tables.items()}
        groups = tuple(
            tuple(planned.with_transport(self._transport(planned.route)) for planned in group)
            for group in draft_groups(endpoints, tables, request, rows)
        )
        plan = Plan(request, source.describe(), dest.describe(), groups)
        if _digest(plan) != self.digest:
            raise OtherCode("its models, or the tables that it finds in the two databases, differ from the command's")
        return plan

    def _transport(self, route: Route) -> Transport:
        """Return the transport that the command has settled on; any other one if that is impossible here."""
        brief, chosen = self.tables[route.table.name], route.transport
        if brief.transport == ConvertedRows.__name__:
            if brief.is_checked:
                return ConvertedRows(route.conversions)
            return chosen.fallback if isinstance(chosen, TextStream) else chosen
        if isinstance(chosen, TextStream):
            fields = [
                field.cheaper if is_cheaper and field.cheaper else field
                for field, is_cheaper in zip(chosen.fields, brief.cheaper, strict=False)
            ]
            return dataclasses.replace(chosen, fields=tuple(fields))
        return chosen


def _brief(planned: TablePlan) -> TableBrief:
    route, transport = planned.route, planned.route.transport
    name = type(transport).__name__
    if isinstance(transport, TextStream):
        return TableBrief(planned.source_rows, name, cheaper=tuple(field.cheaper is None for field in transport.fields))
    is_checked = isinstance(transport, ConvertedRows) and transport.conversions == route.conversions
    return TableBrief(planned.source_rows, name, is_checked=is_checked)


def _digest(plan: Plan) -> str:
    """Return what must be the same for two processes to copy the rows of a plan alike.

    Not the hosts: workers may reach the servers by other addresses.
    """
    described = {
        "databases": [plan.source.database, plan.dest.database],
        "tables": plan.identity()["tables"],
        "reading": {planned.table.name: _reading(planned.route) for planned in plan.tables},
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _reading(route: Route) -> Sequence[Any]:
    """Return the SQL by which a table is read, after the name of its transport."""
    match route.transport:
        case TextStream(fields) | BinaryStream(fields):
            sql = [field.sql for field in fields]
        case ConvertedRows(conversions):
            sql = [conversion.expression for conversion in conversions]
        case _:
            sql = []
    targets = [[one.target.name, str(one.target.kind), len(one.mapping or ())] for one in route.conversions]
    return [route.method, sql, targets]


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) or "another release"
