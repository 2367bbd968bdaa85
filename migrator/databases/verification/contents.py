"""Whether two tables hold the same values: by checksums made in both databases, and row by row where those differ.

Checksums that differ prove nothing yet, for one value may have two spellings: the rows of that range are then read from
both sides and compared as values. Tables with a column of which no common spelling is known are compared so at once,
but for documents of JSON: they are read in the order of the keys, beside checksums of the other columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace

from django.db import DatabaseError

from ...console.progress import Progress, Task
from ..chunks import Bounds, Restriction, find_bounds, outer_bounds, where_clause
from ..engines.base.engine import Engine
from ..engines.base.session import Row
from ..planning.columns import RowTexts, Way, row_texts
from ..tables import Kind, StoredColumn, Table
from .checksums import Checksums
from .rows import (
    CHANGED,
    EXTRA,
    MISSING,
    Found,
    Mapped,
    RowDifference,
    compare_keys,
    differing_rows,
    digests,
    extra_rows,
    longest,
    merged_rows,
    nulls,
    nulls_in,
    sides,
)
from .segments import FEWEST_ROWS, MOST_PARTS, Segments, segments_of_numbers, segments_of_texts

_Stored = Mapping[str, StoredColumn]
_Restrictions = tuple[Restriction | None, Restriction | None]

BY_CHECKSUM, BY_ROW, SAMPLED, NOT_COMPARED = "checksum", "rows", "sample", "not compared"
EQUAL, DIFFERENT, UNCHECKED = "equal", "different", "unchecked"

NO_KEY = "it has no primary key to find its rows by"
# Rows that differ of one table that are listed.
MOST_DIFFERENCES = 1_000
# Rows of a range whose digests are held in memory.
MOST_DIGESTS = 100_000
# Rows from either end of a table that go into every sample.
OUTER_ROWS = 100


@dataclass(frozen=True)
class Sample:
    """How many rows of a table are looked at, chosen by their keys' digests, and what else a choice depends on."""

    rows: int
    seed: int


@dataclass(frozen=True)
class Pairing:
    """A table as both sides have it, and which of its rows are compared."""

    table: Table
    source: Engine
    dest: Engine
    rows: int
    restriction: Restriction | None = None
    # By column, what the destination has in place of the source's values.
    mappings: Mapped = field(default_factory=dict)
    # The destination may hold rows that the source has not.
    allows_extra: bool = False
    # So many rows were rejected on the way.
    rejected: int = 0
    # The neutral keys of rows that are known to have been rejected, and so are not missing.
    rejected_keys: frozenset[Row] = frozenset()

    @property
    def has_translated_keys(self) -> bool:
        """Whether the destination has the rows under other keys."""
        return not self.mappings.keys().isdisjoint(self.table.key)


@dataclass
class Contents:
    """What was compared of one table, and what differs; ``differences`` holds no more than were asked for."""

    label: str
    table: Table
    method: str
    checked: int = 0
    missing: int = 0
    extra: int = 0
    changed: int = 0
    # Rows whose digests differ although their values are equal.
    equivalent: int = 0
    differences: list[RowDifference] = field(default_factory=list)
    # Of a sample: the columns that are NULL in so many rows of the source, and in so many others of the destination.
    nulls: dict[str, tuple[int, int]] = field(default_factory=dict)
    # Why rows could not be compared, or not be named.
    reason: str = ""
    rejected: int = 0

    @property
    def differing(self) -> int:
        """How many rows are not the same on both sides."""
        return self.missing + self.extra + self.changed

    @property
    def is_truncated(self) -> bool:
        """Whether more rows differ than are listed."""
        return self.differing > len(self.differences)

    @property
    def status(self) -> str:
        """Whether the rows that were compared are the same; rows that the run rejected are allowed to be missing."""
        if self.method == NOT_COMPARED:
            return UNCHECKED
        is_equal = self.missing == self.rejected and not (self.extra or self.changed or self.nulls)
        return EQUAL if is_equal else DIFFERENT

    def add(self, difference: RowDifference, most: int) -> None:
        """Count a row that differs, and list it while the list is short."""
        self.missing += difference.kind == MISSING
        self.extra += difference.kind == EXTRA
        self.changed += difference.kind == CHANGED
        if len(self.differences) < most:
            self.differences.append(difference)


def compare_contents(
    pairings: Sequence[Pairing], *, sample: Sample | None, chunk_size: int, most: int, progress: Progress
) -> tuple[Contents, ...]:
    """Compare the rows of tables: all of them in chunks of ``chunk_size``, or a sample.

    Of each table ``most`` rows that differ are listed, and all are counted. Generated columns are compared, too: there
    it shows where an expression means something else to the other database.
    """
    pairings = [replace(pairing, table=pairing.table.with_generated()) for pairing in pairings]
    found = []
    for pairing, stored in zip(pairings, _stored(pairings), strict=True):
        comparison = _Comparison(pairing, most, progress, stored=stored)
        with pairing.source.reading_everything(), pairing.dest.reading_everything():
            found.append(comparison.sampled(sample) if sample else comparison.all_rows(chunk_size))
    return tuple(found)


def find_differences(
    pairing: Pairing, *, chunk_size: int, progress: Progress, each: Callable[[RowDifference], None]
) -> Contents:
    """Compare all rows of a table, and hand each that differs to ``each`` in place of listing it."""
    with pairing.source.reading_everything(), pairing.dest.reading_everything():
        return _Comparison(pairing, 0, progress, each).all_rows(chunk_size)


def range_prover(pairing: Pairing) -> Callable[[Bounds], int | None] | None:
    """Give what tells how many rows a range has, where checksums prove them the same on both sides, and else ``None``.

    There is no such thing for a table whose values have no spelling in common, or whose ranges are others there.
    """
    return _Comparison(pairing, 0, Progress()).range_prover()


def _stored(pairings: Sequence[Pairing]) -> Iterator[tuple[_Stored, _Stored]]:
    """Describe the tables of pairings, which are of the same two databases, on both sides."""
    if pairings:
        names = [pairing.table.name for pairing in pairings]
        here, there = (side.catalogue.stored_tables(names) for side in (pairings[0].source, pairings[0].dest))
        yield from ((here[name], there[name]) for name in names)


def _lacking(engine: Engine, table: Table, stored: _Stored) -> list[str]:
    if not stored:
        return [no_table(engine.alias, table.name)]
    return [f"{engine.alias!r} lacks {column.name!r}" for column in table.columns if column.name not in stored]


def no_table(alias: str, table: str) -> str:
    """Say that a database lacks a table."""
    return f"{alias!r} has no table {table!r}"


class _Comparison:
    """The comparison of one table."""

    def __init__(
        self,
        pairing: Pairing,
        most: int,
        progress: Progress,
        each: Callable[[RowDifference], None] = lambda difference: None,
        *,
        stored: tuple[_Stored, _Stored] | None = None,
    ) -> None:
        self._pairing, self._most, self._progress, self._each = pairing, most, progress, each
        source, dest, table = pairing.source, pairing.dest, pairing.table
        self._stored = stored or next(_stored([pairing]))
        self._lacking = [
            text
            for engine, stored in zip((source, dest), self._stored, strict=True)
            for text in _lacking(engine, table, stored)
        ]
        if not self._lacking:
            own, other = self._stored
            self._left, self._right = sides(table, source, dest, own, other, pairing.mappings)
        for engine in (source, dest):
            engine.digests.prepare()
        # Until a range differs in most of its parts: to look for them costs as much as its checksum did.
        self._differs_in_few = True

    def all_rows(self, chunk_size: int) -> Contents:
        """Compare every row."""
        if self._lacking:
            return self._nothing(f"{'; '.join(self._lacking[:3])}")
        table = self._pairing.table
        checksums = self._row_checksums()
        if checksums is None and not table.key:
            return self._nothing(NO_KEY)
        rows, found = self._pairing.rows, self._begin(BY_CHECKSUM if checksums else BY_ROW)
        with (
            self._progress.task(f"{table.label} (compare by {found.method})", rows) as task,
            checksums.helped(rows) if checksums else nullcontext(),
        ):
            for bounds in self._ranges(chunk_size):
                self._compare(checksums, bounds, found, task)
        return found

    def range_prover(self) -> Callable[[Bounds], int | None] | None:
        """Give what :func:`range_prover` promises."""
        checksums = None if self._lacking else self._row_checksums()
        if checksums is None or not self._has_numbers_for_keys:
            return None

        def rows_proven(bounds: Bounds) -> int | None:
            with self._surviving():
                here, there = checksums.of(bounds)
                return here.rows if checksums.prove(bounds, here, there) else None
            return None

        return rows_proven

    def sampled(self, sample: Sample) -> Contents:
        """Compare about ``sample.rows`` rows that a seed chooses, on both sides alike, and those at either end."""
        table = self._pairing.table
        if self._pairing.rows <= max(sample.rows, 2 * OUTER_ROWS) or self._pairing.has_translated_keys:
            return self.all_rows(chunk_size=max(sample.rows, 2 * OUTER_ROWS))
        if self._lacking:
            return self._nothing(f"{'; '.join(self._lacking[:3])}")
        texts = self._texts(table.key) if table.key else None
        if texts is None or texts.without:
            return self._nothing("its primary key has no spelling that both databases share" if table.key else NO_KEY)
        found = self._begin(SAMPLED)
        with self._progress.task(f"{table.label} (sample)", sample.rows) as task:
            first, last = outer_bounds(self._pairing.source, table.name, table.key, OUTER_ROWS)
            for bounds in (first, last):
                self._by_row(bounds, None, None, found, task)
            here, there = (
                Restriction(engine.digests.chosen(text, sample.seed, sample.rows / self._pairing.rows), ())
                for engine, text in ((self._pairing.source, texts.here), (self._pairing.dest, texts.there))
            )
            self._by_row(Bounds(first.upper, last.lower), here, there, found, task)
        self._compare_longest(found)
        self._compare_nulls(found)
        return found

    def _compare_longest(self, found: Contents) -> None:
        """Compare the rows that hold the longest texts, which are the first to be cut."""
        texts = (column.name for column in self._pairing.table.columns if column.kind in (Kind.TEXT, Kind.BINARY))
        keys = dict.fromkeys(key for name in texts if (key := longest(self._left, name)))
        listed = {difference.key for difference in found.differences}
        for difference in compare_keys(self._left, self._right, [key for key in keys if key not in listed]):
            self._note(found, difference)

    def _compare_nulls(self, found: Contents) -> None:
        """Count each column's NULLs in all rows of both sides, so that a column that was lost shows."""
        table = self._pairing.table
        here, there = (nulls(engine, table) for engine in (self._pairing.source, self._pairing.dest))
        gone = nulls_in(self._left, list(self._pairing.rejected_keys))
        here = tuple(count - less for count, less in zip(here, gone, strict=True))
        found.nulls = {
            column.attname: (one, other)
            for column, one, other in zip(table.columns, here, there, strict=True)
            if one != other
        }

    def _begin(self, method: str, reason: str = "") -> Contents:
        table = self._pairing.table
        return Contents(table.label, table, method, rejected=self._pairing.rejected, reason=reason)

    def _nothing(self, reason: str) -> Contents:
        return self._begin(NOT_COMPARED, reason)

    def _row_checksums(self) -> Checksums | None:
        """Give what makes checksums of rows, where all rows of both sides can be compared by their texts.

        Documents may be left out: they are read beside it, in the order of the keys.
        """
        pairing = self._pairing
        if pairing.mappings or pairing.allows_extra or pairing.restriction:
            return None
        texts = self._texts([column.name for column in pairing.table.columns])
        if texts is None:
            return None
        if texts.without:
            ways = {r.column.name: (r.way, r.column.kind) for side in (self._left, self._right) for r in side.readings}
            are_documents = all(ways[column.name] == (Way.PROVEN, Kind.JSON) for column in texts.without)
            if not (are_documents and pairing.table.key and self._has_keys_of(Kind.INTEGER, Kind.UUID)):
                return None
        return Checksums(self._left, self._right, texts)

    def _texts(self, names: Sequence[str]) -> RowTexts | None:
        """Give the SQL for the text of these columns, on both sides."""
        source, dest = self._pairing.source, self._pairing.dest
        return row_texts([self._pairing.table.column(name) for name in names], source, dest, *self._stored)

    @property
    def _has_numbers_for_keys(self) -> bool:
        """Whether both sides order the keys alike, as they do whole numbers, and nothing that has a collation."""
        has_key = bool(self._pairing.table.key) and not self._pairing.has_translated_keys
        return has_key and self._has_keys_of(Kind.INTEGER)

    def _has_keys_of(self, *kinds: Kind) -> bool:
        return all(self._pairing.table.column(name).kind in kinds for name in self._pairing.table.key)

    def _ranges(self, chunk_size: int) -> Iterator[Bounds]:
        """Cut the table where both sides order its keys alike."""
        pairing, table = self._pairing, self._pairing.table
        if self._has_numbers_for_keys:
            yield from find_bounds(pairing.source, table.name, table.key, pairing.rows, chunk_size, pairing.restriction)
        else:
            yield Bounds()

    def _compare(self, checksums: Checksums | None, bounds: Bounds, found: Contents, task: Task) -> None:
        restriction = self._pairing.restriction
        if checksums is None:
            self._by_row(bounds, restriction, restriction, found, task)
            return
        is_proven: bool | None = None
        with self._surviving():
            here, there = checksums.of(bounds)
            is_proven = checksums.prove(bounds, here, there)
        if is_proven is None:
            self._by_row(bounds, restriction, restriction, found, task)
        elif is_proven:
            found.checked += here.rows
            task.advance(here.rows)
        elif not self._pairing.table.key:
            found.missing, found.extra = max(here.rows - there.rows, 0), max(there.rows - here.rows, 0)
            found.changed = min(here.rows, there.rows)
            found.reason = f"{NO_KEY}: at most so many differ"
        elif suspects := self._suspects(checksums, bounds, max(here.rows, there.rows)):
            self._by_digest(checksums.texts, bounds, *suspects, found)
            found.checked += here.rows
            task.advance(here.rows)
        else:
            self._by_row(bounds, restriction, restriction, found, task)

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        """Leave it to a comparison of single rows if a database cannot make a checksum because of what is in one."""
        try:
            yield
        except DatabaseError as error:
            engines = (self._pairing.source, self._pairing.dest)
            for engine in engines:
                engine.recover()
            if not (self._pairing.table.key and any(e.owns(error) and e.is_about_rows(error) for e in engines)):
                raise

    def _suspects(self, checksums: Checksums, bounds: Bounds, rows: int) -> _Restrictions | None:
        """Give conditions on both sides that all rows meet which differ in a range with so many ``rows``.

        ``None`` where those would be too many rows to hold their digests in memory, or there are none of all columns.
        """
        if checksums.texts.without:
            return None
        if self._differs_in_few and rows >= FEWEST_ROWS and (parts := self._parts(bounds, rows)):
            sums = checksums.by_part(bounds, parts)
            differing = {part: both for part, both in sums.items() if not both[0].proves(both[1])}
            suspects = sum(max(here.rows, there.rows) for here, there in differing.values())
            self._differs_in_few = 2 * suspects <= rows and len(differing) <= MOST_PARTS
            if self._differs_in_few and suspects <= MOST_DIGESTS and None not in differing:
                return parts.chosen(differing)
        return (None, None) if rows <= MOST_DIGESTS else None

    def _parts(self, bounds: Bounds, rows: int) -> Segments | None:
        """Cut a range into parts, if its keys allow it."""
        source, dest, key = self._pairing.source, self._pairing.dest, self._pairing.table.key
        if self._has_numbers_for_keys:
            return segments_of_numbers(source, dest, key[0], bounds, rows) if len(key) == 1 else None
        texts = self._texts(key)
        return segments_of_texts(source, dest, texts, rows) if texts and not texts.without else None

    def _by_digest(
        self, texts: RowTexts, bounds: Bounds, one: Restriction | None, other: Restriction | None, found: Contents
    ) -> None:
        """Read the digests of rows in a range from both sides, and compare the rows whose digests differ."""
        here = digests(self._left, texts.here, bounds, one)
        there = digests(self._right, texts.there, bounds, other)
        suspects = [key for key, digest in here.items() if digest is None or there.get(key) != digest]
        suspects += [key for key in there if key not in here]
        found.equivalent += len(suspects)
        for difference in compare_keys(self._left, self._right, suspects):
            self._note(found, difference)
            found.equivalent -= 1

    def _note(self, found: Contents, difference: RowDifference) -> None:
        if difference.kind == MISSING and difference.key in self._pairing.rejected_keys:
            return
        found.add(difference, self._most)
        self._each(difference)

    def _by_row(
        self, bounds: Bounds, here: Restriction | None, there: Restriction | None, found: Contents, task: Task
    ) -> None:
        """Compare the rows of a range one by one, those that meet ``here`` and, in the destination, ``there``."""
        pairing, count = self._pairing, Found()
        is_merged = self._has_numbers_for_keys and not pairing.allows_extra
        for difference in (
            merged_rows(self._left, self._right, bounds, here, there, count)
            if is_merged
            else differing_rows(self._left, self._right, bounds, here, count)
        ):
            self._note(found, difference)
        found.checked += count.looked_up
        task.advance(count.looked_up)
        if is_merged or pairing.allows_extra:
            return
        where, params = where_clause(pairing.dest, pairing.table.key, bounds, there)
        name = pairing.dest.quote(pairing.table.name)
        if pairing.dest.fetch_value(f"SELECT COUNT(*) FROM {name}{where}", params) != count.there:
            for difference in extra_rows(self._left, self._right, bounds, there):
                self._note(found, difference)
