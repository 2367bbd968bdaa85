"""MySQL and MariaDB: what foreign keys change in other tables, which binary logs lack if InnoDB does it.

MySQL does it itself from 9.6 on, and logs it (MySQL manual, ``innodb_native_foreign_keys``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ..base.session import DatabaseSession

CHANGING = frozenset(("CASCADE", "SET NULL", "SET DEFAULT"))
RULES_SQL = """
SELECT r.table_name, r.unique_constraint_schema, r.referenced_table_name, r.delete_rule, r.update_rule,
       k.referenced_column_name
FROM information_schema.referential_constraints r JOIN information_schema.key_column_usage k
  ON k.constraint_schema = r.constraint_schema AND k.constraint_name = r.constraint_name
 AND k.table_name = r.table_name
WHERE r.constraint_schema = DATABASE() AND (r.delete_rule IN ({rules}) OR r.update_rule IN ({rules}))
"""

# A schema and a table.
Name = tuple[str, str]


@dataclass(frozen=True)
class Rule:
    """What a foreign key does to the rows of ``child``."""

    child: Name
    on_delete: str
    on_update: str


@dataclass(frozen=True)
class Cascade:
    """The tables whose rows change with a row of another one.

    ``on_delete``: if it is deleted. ``on_update``: if any of ``columns``, which foreign keys reference, gets another
    value.
    """

    on_delete: frozenset[Name]
    on_update: frozenset[Name]
    columns: frozenset[str]


def cascades_of(session: DatabaseSession) -> dict[Name, Cascade]:
    """Return what changes with the rows of tables, by table, as far as the log does not have it."""
    native = session.fetch_all("SHOW GLOBAL VARIABLES LIKE 'innodb_native_foreign_keys'")
    if native and native[0][1] == "OFF":
        return {}
    own = str(session.fetch_value("SELECT DATABASE()"))
    marks = ", ".join(f"'{rule}'" for rule in sorted(CHANGING))
    rules: dict[Name, set[Rule]] = defaultdict(set)
    columns: dict[Name, set[str]] = defaultdict(set)
    for child, schema, parent, on_delete, on_update, column in session.fetch_all(RULES_SQL.format(rules=marks)):
        rules[schema, parent].add(Rule((own, child), on_delete, on_update))
        columns[schema, parent].add(column)
    return {
        parent: Cascade(
            _affected(rules, parent, is_deleted=True),
            _affected(rules, parent, is_deleted=False),
            frozenset(columns[parent]),
        )
        for parent in list(rules)
    }


def _affected(rules: Mapping[Name, Collection[Rule]], parent: Name, *, is_deleted: bool) -> frozenset[Name]:
    """Follow the rules from a row of ``parent`` that is deleted, or gets another value that keys reference."""
    found: set[tuple[Name, bool]] = set()
    waiting = [(parent, is_deleted)]
    while waiting:
        table, is_gone = waiting.pop()
        for rule in rules.get(table, ()):
            action = rule.on_delete if is_gone else rule.on_update
            change = rule.child, is_gone and action == "CASCADE"
            if action in CHANGING and change not in found:
                found.add(change)
                waiting.append(change)
    return frozenset(table for table, _ in found)
