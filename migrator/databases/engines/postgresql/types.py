"""PostgreSQL: column types."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping

from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone

from ...tables import Kind, StoredColumn
from ..base.types import Types
from .values import STORES

# Types that hold the values of a kind in addition to those with shortcuts; see limits_of_type() in values.py.
ALSO_HOLD: Mapping[Kind, tuple[str, ...]] = {
    Kind.INTEGER: ("numeric", "float4", "float8"),
    Kind.TEXT: ("bpchar", "citext"),
}
# Django's names for them, and the catalogue's (PostgreSQL manual, "Serial Types").
SERIALS: Mapping[str, str] = {"smallserial": "smallint", "serial": "integer", "bigserial": "bigint"}
MODIFIERS = re.compile(r"\([\d, ]+\)")
# Types that round a value to their digits; all others with modifiers reject a value that is too long.
ROUNDING = ("numeric", "time", "timestamp", "interval")
FAMILIES = (
    ("character varying", "text", "citext"),
    ("smallint", "integer", "bigint"),
)


class PostgreSQLTypes(Types):
    """The types of PostgreSQL."""

    def declared(self, db_types: Collection[str]) -> Mapping[str, str]:
        names = {db_type: SERIALS.get(db_type.lower(), db_type) for db_type in db_types}
        try:
            return self._written(names)
        except DatabaseError:  # one of them is unknown
            found: dict[str, str] = {}
            for db_type, name in names.items():
                try:
                    found |= self._written({db_type: name})
                except DatabaseError:
                    continue
            return found

    def _written(self, names: Mapping[str, str]) -> dict[str, str]:
        """Let the server print types as its catalogue does, with their modifiers, without creating a column."""
        if not names:
            return {}
        casts = ", ".join(f"NULL::{name.replace('%', '%%')}" for name in names.values())
        with transaction.atomic(using=self.alias):
            plan = self.fetch_value(f"EXPLAIN (VERBOSE, FORMAT JSON) SELECT {casts}")
        plan = json.loads(plan) if isinstance(plan, str) else plan
        written = [output.removeprefix("NULL::") for output in plan[0]["Plan"]["Output"]]
        return dict(zip(names, written, strict=True))

    def holds(self, kind: Kind, stored: StoredColumn) -> bool:
        if kind is Kind.TEXT and stored.labels:
            return True
        if (stored.scale or 0) < 0:  # rounds digits before the point
            return False
        if kind is Kind.DATETIME and stored.type == "timestamp":
            return not settings.USE_TZ
        return stored.type in (*STORES.get(kind, ()), *ALSO_HOLD.get(kind, ()))

    def widens(self, declared: str, stored: StoredColumn) -> bool:
        own, real = MODIFIERS.sub("", declared), MODIFIERS.sub("", stored.declared)
        if own.casefold() == real.casefold():
            is_unlimited = real == stored.declared
            return is_unlimited or not own.startswith(ROUNDING) or _has_more_digits(stored.declared, declared)
        if own.endswith("[]") is not real.endswith("[]"):
            return False
        own, real = own.removesuffix("[]"), real.removesuffix("[]")
        return any(own in family and real in family for family in FAMILIES)

    def change(self, table: str, stored: StoredColumn, declared: str) -> str:
        plain = super().change(table, stored, declared)
        if stored.type != "timestamp" or not declared.startswith("timestamp"):
            return plain
        # Django's sessions store local times of their zone there; the session that changes the type may have another.
        name, zone = self.identifier(stored.name), self.connection.timezone_name
        change = f"ALTER COLUMN {name} TYPE {declared} USING {name} AT TIME ZONE '{zone}'"
        return f"{plain} (ALTER TABLE {self.identifier(table)} {change})"

    def is_read_as_another_moment(self, kind: Kind, stored: StoredColumn) -> bool:
        if kind is not Kind.DATETIME or stored.type not in ("date", "timestamp"):
            return False
        # Django stores the local time of its session's zone there, and reads it as local time of TIME_ZONE.
        is_local = settings.USE_TZ and self.connection.timezone_name != timezone.get_default_timezone_name()
        return stored.type == "date" or is_local


def _has_more_digits(real: str, declared: str) -> bool:
    """Whether a type keeps at least as many digits before and after the point as another of its name."""
    own, other = ([int(digits) for digits in re.findall(r"\d+", name)] for name in (real, declared))
    if not other:
        return False
    scale, other_scale = (digits[1] if len(digits) > 1 else 0 for digits in (own, other))
    if not real.startswith("numeric"):
        return own[0] >= other[0]
    return scale >= other_scale and own[0] - scale >= other[0] - other_scale
