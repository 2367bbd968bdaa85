"""PostgreSQL: the sequences that generate keys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from django.db.models import AutoField

from ...tables import Table
from ..base.catalogue import Catalogue, KeySequence

# pg_get_serial_sequence() finds only a sequence that the column owns; another one may be in the column's default.
SEQUENCES_SQL = """
SELECT COALESCE(
    pg_get_serial_sequence(n.name, n.keyed),
    (SELECT replace(substring(pg_get_expr(d.adbin, d.adrelid) FROM 'nextval\\(''(.*)''::regclass\\)'), '''''', '''')
     FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
     WHERE a.attrelid = to_regclass(n.name) AND a.attname = n.keyed)
)
FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS n(name, keyed, number)
ORDER BY n.number
"""
# NULL for a sequence that was never used, and for one that this role may not read.
LAST_VALUE = (
    "SELECT CASE WHEN has_sequence_privilege(seqrelid, 'SELECT, USAGE') THEN pg_sequence_last_value(seqrelid) END "
    "FROM pg_sequence WHERE seqrelid = %s::regclass"
)
INCREMENT = "SELECT greatest(seqincrement, 1) FROM pg_sequence WHERE seqrelid = %s::regclass"
MOST = "SELECT seqmax FROM pg_sequence WHERE seqrelid = %s::regclass"


class Sequences(Catalogue):
    """The sequences of PostgreSQL."""

    def sequences(self, tables: Sequence[Table]) -> list[KeySequence]:
        keys, sequences = self._sequence_names(tables)
        largest = self.largest(keys)
        known = [sequence for sequence in sequences if sequence is not None]
        select = "SELECT s.last_value, CASE WHEN s.is_called THEN p.seqincrement ELSE 0 END"
        values = self.fetch_each(
            [
                (
                    f"{select} FROM {sequence.replace('%', '%%')} s, pg_sequence p WHERE p.seqrelid = %s::regclass",
                    [sequence],
                )
                for sequence in known
            ]
        )
        next_values = {sequence: sum(row) for sequence, row in zip(known, values, strict=True)}
        return [
            KeySequence(*key, next_values[sequence], last)
            if sequence is not None
            else KeySequence(*key, None, last, "no sequence belongs to the column")
            for key, sequence, last in zip(keys, sequences, largest, strict=True)
        ]

    def _sequence_names(self, tables: Sequence[Table]) -> tuple[list[tuple[str, str]], list[str | None]]:
        """Return the table and column of each generated key, and the names of their sequences as SQL has them."""
        keys = [
            (table.name, column.name)
            for table in tables
            for column in table.columns
            if isinstance(column.field, AutoField)
            and column.name in table.key
            and not any(ref.column == column.name for ref in table.references)
        ]
        names = self.identifiers(table for table, _ in keys), [column for _, column in keys]
        return keys, [row[0] for row in self.fetch_all(SEQUENCES_SQL, names)]

    def next_keys(self, tables: Sequence[Table]) -> dict[str, int]:
        keys, sequences = self._sequence_names(tables)
        known = [
            (table, sequence) for (table, _), sequence in zip(keys, sequences, strict=True) if sequence is not None
        ]
        # As a numeric: the number after the largest bigint is not a bigint.
        after = f"SELECT ({LAST_VALUE})::numeric + ({INCREMENT})"
        rows = self.fetch_each([(after, [sequence] * 2) for _, sequence in known])
        return {table: int(row[0]) for (table, _), row in zip(known, rows, strict=True) if row[0] is not None}

    def reset_sequences(self, tables: Sequence[Table], next_keys: Mapping[str, int], *, may_lower: bool) -> None:
        largest: defaultdict[str, list[str]] = defaultdict(list)  # by sequence: tables can share one
        for (table, column), sequence in zip(*self._sequence_names(tables), strict=True):
            if sequence is not None:
                largest[sequence].append(f"SELECT max({self.quote(column)})::bigint AS one FROM {self.quote(table)}")
                if table in next_keys:
                    largest[sequence].append(f"SELECT {next_keys[table] - 1}")
        # A sequence starts at 1, so it never generates keys of zero and below.
        # A sequence of a smaller type than its column ends before the largest key; verification reports that.
        set_value = (
            f"SELECT setval(%s, LEAST(GREATEST(COALESCE(max(one), 1), 1), ({MOST})), COALESCE(max(one), 0) >= 1)"
        )
        queries = []
        for sequence, sources in largest.items():
            own = [] if may_lower else [LAST_VALUE]
            params = [sequence] * (2 + len(own))
            queries.append((f"{set_value} FROM ({' UNION ALL '.join([*sources, *own])}) each_one", params))
        self.fetch_each(queries)
