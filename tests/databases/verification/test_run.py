"""What others change in the destination during a run shows in its row counts at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections

from migrator.databases.planning import parallel_queries
from tests.databases.side_by_side import ROWS, fill, move
from tests.servers.databases import PAIRS, Pair

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

THREE_PAIRS = [PAIRS[1], PAIRS[5], PAIRS[6]]  # each engine once as the destination


@pytest.fixture(params=THREE_PAIRS, ids=str)
def pair(request: pytest.FixtureRequest, databases: FreshDatabases) -> Pair:
    pair: Pair = request.param
    databases.fresh(*pair)
    fill(pair.source)
    return pair


def counts_after(pair: Pair, statement: str, **options: Any) -> dict[str, tuple[int | None, int | None]]:
    """Move while a statement changes the destination after the last row; return the rows of tables that differ."""
    is_done = False

    def disturb(run: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        nonlocal is_done
        if not is_done and str(sql).startswith("UPDATE") and "migrator_run" in str(sql) and "finishing" in params:
            is_done = True
            run(statement, (), False, context)
        return run(sql, params, many, context)

    with connections[pair.dest].execute_wrapper(disturb):
        outcome = move(pair, jobs=1, **options)
    assert is_done
    assert outcome.verification is not None
    assert outcome.exit_code == (3 if outcome.verification.differing else 0)
    return {count.table: (count.source_rows, count.dest_rows) for count in outcome.verification.differing}


@pytest.mark.parametrize("helped_rows", [0, ROWS], ids=["two-sessions", "one-session"])
@pytest.mark.parametrize(
    ("statement", "dest_rows"),
    [
        ("DELETE FROM testapp_article_tags WHERE id = 7", ROWS - 1),
        ("INSERT INTO testapp_article_tags (id, article_id, tag_id) VALUES (100, 1, 2)", ROWS + 1),
    ],
    ids=["less", "more"],
)
def test_rows_that_come_or_go_in_the_destination_are_told(
    pair: Pair, statement: str, dest_rows: int, helped_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel_queries, "HELPED_ROWS", helped_rows)
    assert counts_after(pair, statement) == {"testapp_article_tags": (ROWS, dest_rows)}


def test_nothing_is_counted_where_nothing_is_to_be_compared(pair: Pair) -> None:
    assert counts_after(pair, "DELETE FROM testapp_article_tags WHERE id = 7", verify="none") == {}
