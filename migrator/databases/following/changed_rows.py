"""The rows of a round that differ: those with changed keys, looked up in both databases."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import islice

from ...console.progress import Progress
from ...console.wording import plural
from ..engines.base.change_feed import FeedLost
from ..engines.base.session import Row
from ..planning.plan import Plan
from ..update import Difference, compare_table, sides_of
from ..verification.rows import LOOKUP, compare_keys
from .changed_keys import ChangedKeys


def find_changed(
    plan: Plan, changed: ChangedKeys, *, chunk_size: int, progress: Progress, check: Callable[[], None]
) -> list[Difference]:
    """Compare the rows of a round in both databases, in load order; the caller closes the results.

    Raises :exc:`FeedLost` if a key is in neither database although no transaction has removed its row: then the feed or
    the text form of its keys is not what it seems.
    """
    differences = []
    names = set(changed.tables())
    with ExitStack() as on_error:
        for planned in plan.tables:
            if planned.table.name not in names:
                continue
            check()
            difference = Difference(planned)
            on_error.callback(difference.close)
            if changed.has_any_row(planned.table.name):
                compare_table(difference, chunk_size=chunk_size, progress=progress)
            else:
                _compare_changed(difference, changed)
            differences.append(difference)
        on_error.pop_all()
    return differences


def _compare_changed(difference: Difference, changed: ChangedKeys) -> None:
    planned, started = difference.planned, time.perf_counter()
    source, dest = sides_of(planned)
    keys = changed.keys(planned.table.name)
    absent: list[Row] = []
    while page := list(islice(keys, LOOKUP)):
        neutral = source.neutral_keys([text for text, _ in page])
        expected = {key for key, (_, is_expected) in zip(neutral, page, strict=True) if is_expected}
        with planned.route.source.reading_everything(), planned.route.dest.reading_everything():
            for found in compare_keys(source, dest, neutral, absent.append):
                difference.add(found)
        if lacking := expected.intersection(absent):
            raise FeedLost(
                f"{plural(len(lacking), 'changed row')} of {planned.table.label} could be found in neither database"
            )
        absent.clear()
        difference.update.compared += len(page)
    difference.update.seconds += time.perf_counter() - started
