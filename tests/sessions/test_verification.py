"""Two places compared: each kind of difference is found and named by digest, and nothing else is."""

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches

from migrator.clock import now
from migrator.errors import Refused
from migrator.sessions.comparison import SessionComparison, VerifyOptions
from migrator.sessions.copying.run import copy_sessions
from migrator.sessions.reports import comparison_report
from migrator.sessions.verification import verify_sessions
from migrator.stores.base import digest
from tests.sessions.places import CACHE, HOUR, ROWS, Place, held, opened, put
from tests.stores.redis.expiries import reading_error

pytestmark = pytest.mark.redis


def compared(**options: Any) -> SessionComparison:
    return verify_sessions(source=CACHE.end, dest=ROWS.end, options=VerifyOptions(**options)).comparison


def test_finds_and_names_every_kind_of_difference(ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    moment = now() + HOUR
    put(CACHE, {"same": 1})
    copy_sessions(source=CACHE.end, dest=ROWS.end)
    missing = put(CACHE, {"missing": 1})
    extra = put(ROWS, {"extra": 1})
    data = put(CACHE, {"n": 1}, expires=moment)
    put(ROWS, {"n": 2}, key=data, expires=moment - moment % 1000)
    later = put(CACHE, {"n": 1}, expires=moment)
    by = 2000 + 20 * reading_error()  # which verification allows
    put(ROWS, {"n": 1}, key=later, expires=moment - moment % 1000 + by)

    found = verify_sessions(source=CACHE.end, dest=ROWS.end, options=VerifyOptions(mode="full"))

    differences = dict(found.comparison.differences)
    assert re.fullmatch(r"expires (0\.002|2\.\d{3}) s later in the destination", differences.pop(digest(later)))
    assert differences == {
        digest(missing): "missing in the destination",
        digest(extra): "only in the destination",
        digest(data): "different data in the destination",
    }
    assert (found.comparison.in_source, found.comparison.in_dest, found.comparison.equal) == (4, 4, 1)
    assert comparison_report(found).exit_code == 3
    assert compared().data_differs == 0
    assert compared(ttl_tolerance=5 * by / 1_000_000).expiry_differs == 0


def test_ignores_what_has_expired(ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    put(ROWS, {}, expires=now() + 200_000)
    time.sleep(0.2)

    found = compared()

    assert (found.compared, found.found) == (0, 0)


def test_looks_again_before_it_tells_of_a_difference(
    ready: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(CACHE, ROWS)
    key = put(CACHE, {"n": 1})
    monkeypatch.setattr(time, "sleep", lambda seconds: copy_sessions(source=CACHE.end, dest=ROWS.end))

    found = compared(mode="full")

    assert (found.equal, found.found) == (1, 0)
    assert list(held(ROWS)) == [key]


def test_tells_what_could_not_be_compared(ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    key = put(CACHE, {"a": 1})
    copy_sessions(source=CACHE.end, dest=ROWS.end)
    raw = f":1:django.contrib.sessions.cache{key}"
    client = caches["redis"]._cache.get_client(None, write=True)
    client.set(raw, b"\x80broken", keepttl=True)

    result = verify_sessions(source=CACHE.end, dest=ROWS.end, options=VerifyOptions(mode="full"))

    assert (result.comparison.unreadable, result.comparison.found) == (1, 0)
    assert comparison_report(result).exit_code == 4


@pytest.mark.postgresql
def test_shares_the_work_and_samples(ready: Callable[..., None]) -> None:
    rows = Place("db", "postgresql_a", "db")
    ready(CACHE, rows)
    for number in range(200):
        put(CACHE, {"n": number})
    copy_sessions(source=CACHE.end, dest=rows.end)

    def comparison(**options: Any) -> SessionComparison:
        return verify_sessions(source=CACHE.end, dest=rows.end, options=VerifyOptions(**options)).comparison

    assert comparison(jobs=2, mode="full").equal == 200
    assert 10 < comparison(sample=50).equal < 120
    with opened(rows) as store:
        store._table.delete(list(held(CACHE))[:3])
    assert comparison(jobs=2).missing == 3


def test_refuses_one_place_given_twice() -> None:
    with pytest.raises(Refused, match="the same store"):
        verify_sessions(source=CACHE.end, dest=CACHE.end)
