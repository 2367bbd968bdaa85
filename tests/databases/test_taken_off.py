"""Indexes and foreign keys are taken off while rows are loaded, and come back exactly as they were."""

from __future__ import annotations

from django.db import connections

DEFINITIONS = {
    "postgresql": (
        "SELECT concat_ws(' ', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisclustered, i.indisreplident,"
        " obj_description(i.indexrelid, 'pg_class'))"
        " FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid WHERE t.relnamespace = 'public'::regnamespace",
        "SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated,"
        " condeferrable, condeferred, obj_description(oid, 'pg_constraint'))"
        " FROM pg_constraint WHERE connamespace = 'public'::regnamespace",
        "SELECT concat_ws(' ', pg_get_triggerdef(oid), tgenabled) FROM pg_trigger WHERE NOT tgisinternal",
    ),
    "sqlite": ("SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_master",),
}


def definitions(alias: str) -> list[str]:
    """Give what the database's own catalogue says of its tables, indexes and constraints, the journal left out."""
    connection = connections[alias]
    found: list[str] = []
    with connection.cursor() as cursor:
        if connection.vendor == "mysql":
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f"SHOW CREATE TABLE {connection.ops.quote_name(table)}")
                lines = cursor.fetchone()[1].split("\n")
                # The order of a table's indexes is no part of what they are.
                found += [f"{table}: {line.rstrip(',')}" for line in lines if not line.startswith(") ENGINE")]
        for query in DEFINITIONS.get(connection.vendor, ()):
            cursor.execute(query)
            found += [row[0] for row in cursor.fetchall()]
    return sorted(line for line in found if "migrator_" not in line and "sqlite_sequence" not in line)
