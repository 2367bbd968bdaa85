"""MySQL and MariaDB: LOAD DATA LOCAL, from a pipe, if both the server and the settings allow it.

With LOCAL, values out of range and duplicate keys are warnings instead of errors, even in strict mode (MySQL manual,
"LOAD DATA Statement"). So a warning, or a row count other than the one sent, is an error here and rolls back.
"""

from __future__ import annotations

import contextlib
import datetime
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...tables import Kind
from ..base.engine import Engine
from ..base.loading import Target, TextWriter, Writer
from ..base.python_lines import Render, escape, hexadecimal, render_rows
from ..base.session import Row
from ..base.values import Unstorable
from .errors import Warned
from .named_pipes import feed

OPTION = "local_infile"
IS_ALLOWED_SQL = "SELECT @@local_infile"
# Of one statement.
LOADED_BYTES = 4 * 1024 * 1024
COUNTS = re.compile(r"\d+")


def loading_note(engine: Engine) -> tuple[bool, str | None]:
    """Return whether rows are loaded by LOAD DATA, and the note on it for the plan, or ``None``."""
    if not engine.connection.settings_dict["OPTIONS"].get(OPTION):
        return False, None
    if not int(engine.fetch_value(IS_ALLOWED_SQL)):
        return False, f"its OPTIONS have {OPTION}, but the server allows no LOAD DATA LOCAL: slower INSERTs are used."
    if _splits_transactions(engine):
        return False, "the cluster commits LOAD DATA in parts (wsrep_load_data_splitting): rows are inserted instead."
    return True, f"rows are loaded by LOAD DATA LOCAL from a pipe in a private directory (its OPTIONS have {OPTION})."


def _splits_transactions(engine: Engine) -> bool:
    found: dict[str, str] = dict(engine.fetch_all("SHOW GLOBAL VARIABLES WHERE Variable_name LIKE 'wsrep\\_%%'"))
    return found.get("wsrep_on") == "ON" and found.get("wsrep_load_data_splitting") == "ON"


class LineLoader(TextWriter):
    """Loads lines with one LOAD DATA statement."""

    def __init__(self, engine: Engine, table: str, targets: Sequence[Target]) -> None:
        self._connection = engine.connection
        quote = engine.identifier
        columns = [f"@value{n}" if t.kind is Kind.BINARY else quote(t.name) for n, t in enumerate(targets)]
        # After the backslash and the x, two hexadecimal digits per byte.
        binary = [
            f"{quote(t.name)} = UNHEX(SUBSTRING(@value{n}, 3))" for n, t in enumerate(targets) if t.kind is Kind.BINARY
        ]
        self._tail = (
            f" INTO TABLE {quote(table)} CHARACTER SET utf8mb4 FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' "
            f"LINES TERMINATED BY '\\n' ({', '.join(columns)}){' SET ' if binary else ''}{', '.join(binary)}"
        ).encode()

    def write(self, lines: Iterable[bytes]) -> tuple[int, int]:
        counted = _Counted(lines)
        with self._connection.wrap_database_errors:
            feed(counted, self._load)
            self._check(counted.rows)
        return counted.rows, counted.size

    def _load(self, path: str) -> None:
        # Not through Django, which allows only the thread that created a connection to use it.
        driver: Any = self._connection.connection
        with contextlib.closing(driver.cursor()) as cursor:
            cursor.execute(b"LOAD DATA LOCAL INFILE " + driver.string_literal(path.encode()) + self._tail)

    def _check(self, sent: int) -> None:
        driver: Any = self._connection.connection
        # Records, deleted, skipped, warnings; the words are in the server's language (lc_messages).
        counts = [int(number) for number in COUNTS.findall(driver.info() or "")]
        if counts == [sent, 0, 0, 0] and not driver.warning_count():
            return
        with contextlib.closing(driver.cursor()) as cursor:
            cursor.execute("SHOW WARNINGS LIMIT 1")
            message = f"{sent} rows were sent, and the server counted {counts}"
            level, code, message = cursor.fetchone() or ("Warning", 0, message)
            raise Warned(code, f"{level}: {message}")


class _Counted:
    """Passes blocks of lines on, and counts their lines and bytes."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self.rows = self.size = 0
        self._blocks = blocks

    def __iter__(self) -> Iterator[bytes]:
        for block in self._blocks:
            self.rows += block.count(b"\n")
            self.size += len(block)
            yield block


class LineWriter(Writer):
    """Renders rows as lines, and loads many with one statement."""

    def __init__(self, engine: Engine, table: str, targets: Sequence[Target]) -> None:
        self._loader = LineLoader(engine, table, targets)
        self._renderers = [RENDERERS[target.kind] for target in targets]
        self._pending: list[bytes] = []
        self._size = 0

    @staticmethod
    def takes(targets: Sequence[Target]) -> bool:
        """Whether every column's values have a text form here."""
        return all(target.kind in RENDERERS and target.placeholder is None for target in targets)

    def write(self, rows: Sequence[Row]) -> int:
        lines = render_rows(rows, self._renderers)
        self._pending.append(lines)
        self._size += len(lines)
        if self._size >= LOADED_BYTES:
            self.finish()
        return len(lines)

    def finish(self) -> None:
        if self._pending:
            pending, self._pending, self._size = self._pending, [], 0
            self._loader.write(pending)


def _finite(value: float) -> str:
    if not math.isfinite(value):
        raise Unstorable("float", "neither NaN nor infinity can be stored", "Correct the value.")
    return repr(value)


RENDERERS: Mapping[Kind, Render] = {
    Kind.INTEGER: int.__repr__,  # also for Booleans, as numbers
    Kind.BOOLEAN: int.__repr__,
    Kind.FLOAT: _finite,
    Kind.DECIMAL: "{:f}".format,
    Kind.TEXT: escape,
    Kind.JSON: escape,
    Kind.ADDRESS: escape,
    Kind.BINARY: hexadecimal,
    Kind.DATE: datetime.date.isoformat,
    Kind.TIME: datetime.time.isoformat,
    Kind.DATETIME: str,
    Kind.DURATION: int.__repr__,
    Kind.UUID: str,
}
