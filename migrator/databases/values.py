"""The source's values held against what the destination's columns can hold, before the first write.

One query a table counts what is beyond a limit or suspicious in any of its columns; only where it finds something
does a second one name examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from django.db.models import UniqueConstraint

from ..report import plural
from .chunks import key_text, order
from .columns import Way
from .findings import Finding
from .route import Route
from .tables import Column, Kind, StoredColumn, Table

EXAMPLES = 3


@dataclass(frozen=True)
class _Question:
    column: Column
    condition: str
    reason: str
    advice: str


@dataclass(frozen=True)
class Answer:
    """What was found in a table's values, and whether that is nothing at all."""

    findings: tuple[Finding, ...] = ()
    is_clean: bool = True


def check_values(route: Route, source_stored: Mapping[str, StoredColumn]) -> Answer:
    """Count the values of a table that its destination cannot hold or its source cannot give faithfully."""
    questions = list(_questions(route, source_stored))
    doubts = list(_doubts(route))
    conditions = [question.condition for question in questions] + doubts
    if not conditions:
        return Answer()
    sums = ", ".join(f"SUM(CASE WHEN {condition} THEN 1 ELSE 0 END)" for condition in conditions)
    table = route.source.quote(route.table.name)
    where, params = (f" WHERE {route.restriction.sql}", route.restriction.params) if route.restriction else ("", ())
    counts = route.source.fetch_all(f"SELECT {sums} FROM {table}{where}", params)[0]
    counted = zip(questions, counts[: len(questions)], strict=True)
    findings = tuple(_finding(route, question, int(count)) for question, count in counted if count)
    return Answer(findings, is_clean=not any(counts))


def _doubts(route: Route) -> Iterator[str]:
    for conversion, field in zip(route.conversions, route.fields or (), strict=route.fields is not None):
        if field.doubt is not None:
            yield f"{route.source.quote(conversion.column.name)} IS NOT NULL AND ({field.doubt})"


def _questions(route: Route, source_stored: Mapping[str, StoredColumn]) -> Iterator[_Question]:
    for conversion in route.conversions:
        if conversion.way is not Way.PROVEN:
            continue
        column, stored = conversion.column, source_stored[conversion.column.name]
        name = route.source.quote(column.name)
        for suspicion in route.source.values.suspicions(column, stored):
            condition = f"{name} IS NOT NULL AND ({suspicion.condition})"
            yield _Question(column, condition, suspicion.reason, suspicion.advice)
        for limit in conversion.limits:
            beyond = route.source.values.violation(limit, name, stored)
            if beyond:
                condition = f"{name} IS NOT NULL AND ({beyond})"
                yield _Question(column, condition, limit.reason, limit.advice)


def _finding(route: Route, question: _Question, count: int) -> Finding:
    source, table = route.source, route.table
    restriction = route.restriction
    where = f"({question.condition})" + (f" AND ({restriction.sql})" if restriction else "")
    params = restriction.params if restriction else ()
    keys = ", ".join(source.quote(name) for name in table.key) or "1"
    sql = f"SELECT {keys} FROM {source.quote(table.name)} WHERE {where}{order(source, table.key)} LIMIT {EXAMPLES}"
    examples = ", ".join(key_text(table, row) for row in source.fetch_all(sql, params))
    text = f"{plural(count, 'value')}: {question.reason} (for example primary key {examples})"
    return Finding(
        f"{table.label}.{question.column.attname}",
        text,
        question.advice,
        is_about_rows=True,
    )


def check_unique_text(
    route: Route, source_stored: Mapping[str, StoredColumn], dest_stored: Mapping[str, StoredColumn]
) -> Iterator[Finding]:
    """Find texts that are different in the source and the same for a destination that ignores case."""
    table, source = route.table, route.source
    for columns in _unique_sets(table):
        folded = [
            column.name
            for column in columns
            if column.kind is Kind.TEXT
            and dest_stored[column.name].ignores_case
            and not source_stored[column.name].ignores_case
        ]
        if not folded:
            continue
        groups = [
            f"LOWER(RTRIM({source.values.as_text(c.name)}))" if c.name in folded else source.quote(c.name)
            for c in columns
        ]
        present = " AND ".join(f"{source.quote(column.name)} IS NOT NULL" for column in columns)
        restriction = f" AND {route.restriction.sql}" if route.restriction else ""
        params = route.restriction.params if route.restriction else ()
        example = source.values.as_text(table.key[0]) if table.key else "'(none)'"
        sql = (
            f"SELECT MIN({example}), COUNT(*) "
            f"FROM {source.quote(table.name)} WHERE {present}{restriction} "
            f"GROUP BY {', '.join(groups)} HAVING COUNT(*) > 1 LIMIT {EXAMPLES}"
        )
        rows = source.fetch_all(sql, params)
        if rows:
            yield Finding(
                f"{table.label}.{', '.join(column.attname for column in columns)}",
                "unique texts differ only in case or in spaces at the end, which the destination's collation ignores "
                f"(for example primary key {', '.join(str(row[0]) for row in rows)})",
                "Give the field a db_collation that tells them apart (utf8mb4_bin), or change the texts.",
                is_about_rows=True,
            )


def _unique_sets(table: Table) -> Iterator[Sequence[Column]]:
    meta = table.model._meta
    own = {column.attname: column for column in table.columns}
    by_name = {field.name: own[field.attname] for field in meta.local_concrete_fields if field.attname in own}
    for field in meta.local_concrete_fields:
        if field.unique and field.attname in own:
            yield [own[field.attname]]
    groups = [list(group) for group in meta.unique_together]
    groups += [
        list(constraint.fields)
        for constraint in meta.constraints
        if isinstance(constraint, UniqueConstraint) and constraint.fields and constraint.condition is None
    ]
    for group in groups:
        if all(name in by_name for name in group):
            yield [by_name[name] for name in group]
