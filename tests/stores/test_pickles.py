"""Pickles read with an allow-list."""

import collections
import datetime as dt
import decimal
import fractions
import pickle
import uuid
from typing import Any

import pytest
from django.utils.safestring import SafeString

from migrator.stores.pickles import UnsafePickle, loader, loads_safely

PLAIN = [
    {"a": [1, 2.5, "é", b"x", None, True, (1,), {1}, frozenset({2})]},
    dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
    dt.timedelta(days=1),
    decimal.Decimal("1.10"),
    uuid.UUID(int=5),
    collections.OrderedDict(a=1),
    collections.OrderedDict(),
    collections.deque([1, 2], maxlen=3),
    complex(1, 2),
    bytearray(b"\xff\x00"),
    bytearray(),
    range(3, 10**12),
    slice(1, None, 2),
    fractions.Fraction(-10, 3),
    dt.time(1, 2, 3, tzinfo=dt.timezone(dt.timedelta(hours=2), "EET")),
    dt.date(2020, 2, 29),
    uuid.uuid1(),
    [[1] * 30] * 30,
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
        found = loads_safely(data)
        assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))  # which alone can write such texts
def test_reads_texts_that_are_marked_as_safe(protocol: int) -> None:
    found = loads_safely(pickle.dumps(SafeString("<b>"), protocol))
    assert (found, type(found)) == ("<b>", SafeString)


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
    assert str(refused.value) == f"its pickle needs {name}"


def test_reads_anything_when_told_to() -> None:
    assert loader(trusted=True)(pickle.dumps(Attack(eval, "1 + 1"))) == 2


def references(depth: int) -> bytes:
    """Give a list of two lists of two lists ..., each of which stands in the pickle once."""
    value: list[Any] = ["x"]
    for _ in range(depth):
        value = [value, value]
    return pickle.dumps(value, 4)


COSTLY = {
    "digits": pickle.dumps(Attack(fractions.Fraction, "1e100000000")),
    "digits of a decimal": pickle.dumps(Attack(fractions.Fraction, decimal.Decimal("1e999999999"))),
    "set": pickle.dumps(Attack(set, range(10**11))),
    "frozenset": pickle.dumps(Attack(frozenset, range(10**11))),
    "deque": pickle.dumps(Attack(collections.deque, range(10**11))),
    "ordered dictionary": pickle.dumps(Attack(collections.OrderedDict, range(10**11))),
    "bytes by number": pickle.dumps(Attack(bytearray, 10**11)),
    "bytes of a range": pickle.dumps(Attack(bytearray, range(10**11))),
    "memo": b"\x80\x04Nr\xff\xff\xff\xff.",
    "memo in text": b"N" + b"p4294967295\n" + b".",
    "references": references(60),
}


LEVELS = 300_000


def chain(module: bytes, name: bytes) -> bytes:
    """Write a pickle of an object in an object in an object ..., each made by a call."""
    named = b"\x80\x04V" + module + b"\nV" + name + b"\n\x93\x940N"
    return named + b"q\x010h\x00]h\x01a\x85R" * LEVELS + b"."


def tuples(one: bytes) -> bytes:
    """Write a pickle of a dictionary whose key is a tuple in a tuple in a tuple ...; ``one`` makes each."""
    return b"\x80\x04})" + one * LEVELS + b"Ns."


# Python goes down these levels without a limit, and the process ends.
DEEP = {
    "tuples": tuples(b"\x85"),
    "tuples from marks": b"\x80\x04}" + b"(" * LEVELS + b"t" * LEVELS + b"Ns.",
    "tuples of two": tuples(b"2\x86"),
    "tuples that are filled with nothing": tuples(b"\x85(e"),
    "tuples that are built from nothing": tuples(b"\x85Nb"),
    "tuples by the memo": tuples(b"\x85q\x010h\x01"),
    "tuples after a number that is not decimal": b"I0x10\n0" + tuples(b"\x85"),
    "deques": chain(b"collections", b"deque"),
    "deques under an escaped name": chain(b"collections", b"\\u0064eque"),
    "slices": chain(b"builtins", b"slice").replace(b"]h\x01a", b"h\x01"),
}
COSTLY |= DEEP


def test_reads_many_tuples_side_by_side() -> None:
    value = {(number, (str(number), number)): [(number,)] for number in range(2000)}
    assert loads_safely(pickle.dumps(value)) == value


@pytest.mark.parametrize("data", COSTLY.values(), ids=COSTLY)
def test_refuses_what_costs_more_than_its_length(data: bytes) -> None:
    with pytest.raises(UnsafePickle):
        loads_safely(data)


def build(name: tuple[str, str], state: bytes) -> bytes:
    """Write a pickle that sets attributes on what a name stands for."""
    module, attribute = (b"\x8c" + bytes([len(part)]) + part.encode() for part in name)
    return b"\x80\x04" + module + attribute + b"\x93" + state + b"b."


SLOTS = b"N}\x8c\x08__html__Ns\x86"  # (None, {"__html__": None})
PLAIN_STATE = b"}\x8c\x08__html__Ns"


@pytest.mark.parametrize("state", [SLOTS, PLAIN_STATE], ids=["slots", "dictionary"])
@pytest.mark.parametrize(
    "name",
    [
        ("django.utils.safestring", "SafeString"),
        ("fractions", "Fraction"),
        ("uuid", "UUID"),
        ("uuid", "SafeUUID"),
        ("collections", "OrderedDict"),
        ("_codecs", "encode"),
        ("datetime", "date"),
    ],
    ids=lambda name: name[1],
)
def test_no_pickle_changes_a_class_for_those_that_come_after_it(name: tuple[str, str], state: bytes) -> None:
    kept = [*PLAIN, SafeString("<b>")]
    before = [pickle.dumps(loads_safely(pickle.dumps(value))) for value in kept]
    with pytest.raises(Exception):  # noqa: B017, PT011  (whatever it is, the value is listed)
        loads_safely(build(name, state))
    assert SafeString("<b>").__html__() == "<b>"
    assert [pickle.dumps(loads_safely(pickle.dumps(value))) for value in kept] == before
