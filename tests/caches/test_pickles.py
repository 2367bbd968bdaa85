"""Pickles read with an allow-list."""

import collections
import datetime as dt
import decimal
import pickle
import uuid
from typing import Any

import pytest

from migrator.caches.pickles import UnsafePickle, loader, loads_safely

PLAIN = [
    {"a": [1, 2.5, "é", b"x", None, True, (1,), {1}, frozenset({2})]},
    dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
    dt.timedelta(days=1),
    decimal.Decimal("1.10"),
    uuid.UUID(int=5),
    collections.OrderedDict(a=1),
    complex(1, 2),
]


class Attack:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> Any:
        return self.call, self.arguments


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", PLAIN, ids=lambda value: type(value).__name__)
def test_reads_plain_values(value: Any, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    if protocol < 2 and b"_reconstructor" in data:  # which builds any class there is
        with pytest.raises(UnsafePickle, match="_reconstructor"):
            loads_safely(data)
    else:
        assert loads_safely(data) == value


@pytest.mark.parametrize(
    ("attack", "name"),
    [
        (Attack(eval, "1"), "builtins.eval"),
        (Attack(getattr, "a", "b"), "builtins.getattr"),
        (Attack(__import__("os").system, "true"), "posix.system"),
        (Attack(pickle.loads, b"N."), "_pickle.loads"),
    ],
)
def test_refuses_what_could_run_code(attack: Attack, name: str) -> None:
    with pytest.raises(UnsafePickle) as refused:
        loads_safely(pickle.dumps({"a": attack}))
    assert (refused.value.name, str(refused.value)) == (name, f"its pickle needs {name}")


def test_reads_anything_when_told_to() -> None:
    assert loader(trusted=True)(pickle.dumps(Attack(eval, "1 + 1"))) == 2
