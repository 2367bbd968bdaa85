"""What is larger than usual: rows, texts, and tables with very many columns."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.apps import apps
from django.db import connections, models

from migrator.databases.api import batch_migrate
from migrator.databases.comparison import verify_counts
from tests.databases.copying.test_retry import execute
from tests.databases.snapshots import differences, insert_rows, snapshot
from tests.management.running import run
from tests.scenarios.faults.amounts import IS_WHOLE
from tests.scenarios.faults.oracle import THREE_PAIRS, assert_ended, count_rows, journal_tables
from tests.scenarios.test_memory import peak_of
from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import Tag, TextValue

MIB = 1024 * 1024
LARGE = 256 if IS_WHOLE else 64  # MiB of one text
COLUMNS = 320


def text_rows(*values: str) -> list[dict[str, Any]]:
    return [{"id": number, "label": f"row {number}", "value": value} for number, value in enumerate(values, start=1)]


def command(pair: Pair, *more: str) -> tuple[str, ...]:
    ends = ("--source", pair.source, "--dest", pair.dest)
    return ("batch_migrate", *ends, "--no-input", *more, "testapp.TextValue")


# -- rows that do not fit through --------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", [PAIRS[2]], ids=str, indirect=True)
def test_a_row_that_is_larger_than_the_server_takes_is_named(pair: Pair, tmp_path: Any) -> None:
    """The server's max_allowed_packet; other rows of its chunk are not held up by it."""
    with connections[pair.dest].cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        (packet,) = cursor.fetchone()
    insert_rows(TextValue, pair.source, text_rows("small", "x" * packet, "small too"))
    stopped = run(*command(pair))
    said = f"testapp.TextValue.value: 1 row has more bytes than the {packet:,} that '{pair.dest}' takes at once"
    assert_ended(stopped, 1, said, "(for example primary key 2)", "Nothing was written.")
    rejects = tmp_path / "rejects"
    skipped = run(*command(pair, "--on-error", "skip", "--rejects", str(rejects)))
    assert_ended(skipped, 4)
    assert list(TextValue._base_manager.using(pair.dest).values_list("pk", flat=True).order_by("pk")) == [1, 3]
    assert '"pk": "2"' in rejects.read_text()[:200]


@pytest.mark.parametrize("pair", [PAIRS[1]], ids=str, indirect=True)
@pytest.mark.parametrize("index", ["UNIQUE INDEX", "INDEX"])
def test_a_value_that_is_too_long_for_an_index_is_found_before_the_first_write(
    pair: Pair, index: str, tmp_path: Any
) -> None:
    """One that repeats itself is compressed, and fits."""
    # Longer rows of another test, deleted just now, would be indexed too while the server's own ANALYZE may see them.
    execute(pair.dest, "TRUNCATE testapp_textvalue")
    execute(pair.dest, f"CREATE {index} too_small ON testapp_textvalue (value)")
    chosen = random.Random(1)  # noqa: S311
    long = "".join(chosen.choices(string.printable, k=20_000))  # what repeats itself would be compressed
    insert_rows(TextValue, pair.source, text_rows("small", long, "same" * 20_000))
    for more in ((), ("--dry-run",)):
        finished = run(*command(pair, *more))
        assert_ended(finished, 1, "Nothing was written", "testapp.TextValue.value: 1 of the rows ", "primary key 2")
        assert long[:50] not in finished.err
    rejects = tmp_path / "rejects"
    assert_ended(run(*command(pair, "--on-error", "skip", "--rejects", str(rejects))), 4)
    assert list(TextValue._base_manager.using(pair.dest).values_list("pk", flat=True).order_by("pk")) == [1, 3]
    assert '"pk": "2"' in rejects.read_text()[:200]


# -- very large texts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", [PAIRS[1], PAIRS[3], PAIRS[4]], ids=str, indirect=True)
def test_the_memory_for_a_very_large_text_is_a_few_times_its_size(pair: Pair, start_manage: Callable[..., Any]) -> None:
    """And not for several at once: those around it are as large."""
    for number in (1, 2, 3):
        row = {"id": number, "label": f"large {number}", "value": f"{number} wörds\n" * (LARGE * MIB // 10)}
        insert_rows(TextValue, pair.source, [row])
    connections.close_all()
    with start_manage(*command(pair, "--verify", "full")) as process:
        peak = peak_of(process)
        out, err = process.communicate()
    assert process.returncode == 0, err + out
    assert peak < 80 + 7 * LARGE
    assert count_rows(TextValue, pair.dest) == 3


@pytest.mark.parametrize("pair", [PAIRS[2]], ids=str, indirect=True)
def test_the_memory_for_a_rejected_text_is_a_few_times_its_size(
    pair: Pair, start_manage: Callable[..., Any], tmp_path: Any
) -> None:
    """However often the rows around it are tried without it."""
    with connections[pair.dest].cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        size = max(cursor.fetchone()[0], 32 * MIB)
    texts = ["small"] * 40
    texts[20] = "x" * size
    insert_rows(TextValue, pair.source, text_rows(*texts))
    connections.close_all()
    with start_manage(*command(pair, "--on-error", "skip", "--rejects", str(tmp_path / "rejects"))) as process:
        peak = peak_of(process)
        out, err = process.communicate()
    assert process.returncode == 4, err + out
    assert peak < 80 + 8 * size // MIB
    assert count_rows(TextValue, pair.dest) == 39


# -- tables with very many columns ---------------------------------------------------------------------------------


@pytest.fixture
def wide(pair: Pair) -> Iterator[Any]:
    """A model of hundreds of columns, known to the project for this test alone, with its table on both sides."""
    kinds: list[Callable[[], models.Field[Any, Any]]] = [
        lambda: models.IntegerField(null=True),
        lambda: models.CharField(max_length=20, null=True),
        lambda: models.BooleanField(null=True),
        lambda: models.DateTimeField(null=True),
    ]
    fields = {f"column_{number}": kinds[number % len(kinds)]() for number in range(COLUMNS)}
    meta = type("Meta", (), {"app_label": "testapp"})
    model: Any = type("Wide", (models.Model,), {"__module__": __name__, "Meta": meta, **fields})
    for alias in pair:
        with connections[alias].schema_editor() as editor:
            editor.create_model(model)
    yield model
    del apps.all_models["testapp"]["wide"]
    apps.clear_cache()
    for alias in pair:
        with connections[alias].schema_editor() as editor:
            editor.delete_model(model)


@pytest.mark.parametrize("pair", [*THREE_PAIRS, PAIRS[0], PAIRS[8]], ids=str, indirect=True)
def test_a_table_of_hundreds_of_columns_meets_no_limit_of_parameters(wide: Any, pair: Pair) -> None:
    """Rows enough that all their values would be more parameters than any engine takes at once."""
    values: list[Any] = [None, "text", True, datetime(2026, 1, 1, tzinfo=UTC)]
    rows = [
        {"id": key, **{f"column_{n}": key if n % 4 == 0 else values[n % 4] for n in range(COLUMNS)}}
        for key in range(1, 301)
    ]
    insert_rows(wide, pair.source, rows)
    labels = ["testapp.Wide"]
    assert batch_migrate(source=pair.source, dest=pair.dest, labels=labels, verify="full").exit_code == 0
    assert differences(snapshot(pair.source, [wide]), snapshot(pair.dest, [wide])) == []
    assert journal_tables(pair.dest) == set()
    compared = verify_counts(source=pair.source, dest=pair.dest, labels=labels, mode="full")
    assert compared.exit_code == 0, compared.verification
    wide._base_manager.using(pair.dest).filter(pk=7).update(**{f"column_{COLUMNS - 4}": -1})
    assert verify_counts(source=pair.source, dest=pair.dest, labels=labels, mode="full").exit_code == 3
    assert batch_migrate(source=pair.source, dest=pair.dest, labels=labels, update=True).exit_code == 0
    assert verify_counts(source=pair.source, dest=pair.dest, labels=labels, mode="full").exit_code == 0


@pytest.mark.postgresql
def test_an_index_of_a_column_that_the_source_lacks_is_no_obstacle(databases: Any) -> None:
    pair = Pair("sqlite_a", "postgresql_b")
    databases.fresh(*pair)
    insert_rows(Tag, pair.source, [{"id": 1, "name": "a"}])
    with connections[pair.dest].cursor() as cursor:
        cursor.execute("ALTER TABLE testapp_tag ADD own text")
        cursor.execute("CREATE INDEX by_own ON testapp_tag (own)")
    finished = run("batch_migrate", "--source", pair.source, "--dest", pair.dest, "--no-input", "testapp.Tag")
    assert_ended(finished, 0)
