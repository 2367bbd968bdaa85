"""Pickles read with an allow-list: a value that could run foreign code, or that costs too much, is rejected.

Three things are limited. *What is called*: only names of the allow-list. Stand-ins are called in their place, which
build plain values and which no pickle can change (the opcode BUILD sets attributes on anything on the stack, including
classes of this process). *What a call costs*: arguments are those that pickles of such values contain, so that 55 bytes
cannot request a number of a hundred million digits. *What the opcodes cost*: the memo is allocated up to its largest
index, and a few references to references make a value too large to walk through. Hashing nested tuples, and freeing
nested deques, uses the C stack, whose overflow ends the process.
"""

from __future__ import annotations

import collections
import datetime as dt
import io
import pickle
import pickletools
import re
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from django.utils.safestring import SafeString

Loads = Callable[[bytes], Any]
Name = tuple[str, str]

MOST_DIGITS = 4300  # Python's own limit for int(text): sys.get_int_max_str_digits()
MOST_PARTS = 1_000_000  # of a value whose parts refer to each other
_FEW_REFERENCES = 20  # so many cannot multiply one part to more than some thousands
_DEEPEST = 1000  # levels of nested tuples, like Python's own recursion limit
_MOST_CALLS = 10_000  # in a pickle with a deque: so many nested deques still fit on any stack
_FRACTION = re.compile(rf"[-+]?[0-9]{{1,{MOST_DIGITS}}}(/[0-9]{{1,{MOST_DIGITS}}})?")
_LATIN = ("latin1", "latin-1", "iso-8859-1")


class UnsafePickle(Exception):
    """A pickle needs more than a plain value; the message says what."""


class _Fixed(type):
    """The metaclass of classes that no pickle can change."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise UnsafePickle("its pickle changes a class")


def _stand_in(name: str, build: Callable[..., Any]) -> type:
    """Return a class for a pickle to call or instantiate in place of ``name``; that returns what ``build`` returns."""

    def __new__(cls: type, *arguments: Any) -> Any:  # noqa: N807
        return build(*arguments)

    return _Fixed(name, (), {"__slots__": (), "__new__": __new__})


def fixed_class(name: str) -> type:
    """Return a class without any behaviour, whose instances stand for those of a marker class."""
    return _Fixed(name, (), {"__slots__": ()})


def _collection(kind: Callable[..., Any]) -> Callable[..., Any]:
    """Return a builder of a collection, only from parts in the pickle itself and never from an endless iterator."""

    def build(*arguments: Any) -> Any:
        if arguments and type(arguments[0]) not in (list, tuple):
            raise UnsafePickle(f"its pickle makes a {getattr(kind, '__name__', 'collection')} of something else")
        return kind(*arguments)

    return build


def _byte_array(*arguments: Any) -> bytearray:
    if arguments and type(arguments[0]) not in (bytes, str):
        raise UnsafePickle("its pickle makes a bytearray of something else")
    return bytearray(*arguments)


def _encoded(text: str, encoding: str = "utf-8") -> bytes:
    """Return bytes as protocols 0 to 2 write them: a text of as many characters, encoded as Latin-1."""
    if encoding not in _LATIN:
        raise UnsafePickle("its pickle encodes a text in another way than pickles do")
    return text.encode("latin-1")


def _decimal(text: str) -> Decimal:
    if type(text) is not str:
        raise UnsafePickle("its pickle makes a Decimal of something else")
    return Decimal(text)


def _fraction(*arguments: Any) -> Fraction:
    kinds = [type(argument) for argument in arguments]
    is_text = kinds == [str] and _FRACTION.fullmatch(arguments[0]) is not None
    is_pair = kinds == [int, int] and all(number.bit_length() <= 4 * MOST_DIGITS for number in arguments)
    if not (is_text or is_pair):
        raise UnsafePickle("its pickle makes a Fraction of something else, or of very long numbers")
    return Fraction(*arguments)


def _slice(*arguments: Any) -> slice:
    if not all(argument is None or type(argument) in (int, str) for argument in arguments):
        raise UnsafePickle("its pickle makes a slice of something else")
    return slice(*arguments)


def _uuid(*arguments: Any) -> uuid.UUID:
    """Return an empty UUID, which the next opcode fills."""
    if arguments:
        raise UnsafePickle("its pickle makes a UUID in another way than pickles do")
    return object.__new__(uuid.UUID)


def _safe_string(text: str = "") -> SafeString:
    if type(text) is not str:
        raise UnsafePickle("its pickle makes a SafeString of something else")
    return SafeString(text)


_BUILTINS: dict[str, Callable[..., Any]] = {
    "bytearray": _byte_array,
    "complex": complex,
    "frozenset": _collection(frozenset),
    "range": range,
    "set": _collection(set),
    "slice": _slice,
}
_BUILDERS: dict[Name, Callable[..., Any]] = {
    **{("builtins", name): build for name, build in _BUILTINS.items()},
    # The names in protocols 0 to 2.
    **{("__builtin__", name): build for name, build in _BUILTINS.items()},
    ("__builtin__", "xrange"): range,
    ("datetime", "date"): dt.date,
    ("datetime", "datetime"): dt.datetime,
    ("datetime", "time"): dt.time,
    ("datetime", "timedelta"): dt.timedelta,
    ("datetime", "timezone"): dt.timezone,
    ("collections", "OrderedDict"): _collection(collections.OrderedDict),
    ("collections", "deque"): _collection(collections.deque),
    ("_codecs", "encode"): _encoded,
    ("decimal", "Decimal"): _decimal,
    ("fractions", "Fraction"): _fraction,
    ("uuid", "UUID"): _uuid,
    ("django.utils.safestring", "SafeString"): _safe_string,
}
_STAND_INS: dict[Name, type] = {name: _stand_in(name[1], build) for name, build in _BUILDERS.items()}


class _SafeUnpickler(pickle.Unpickler):
    stand_ins: Mapping[Name, type] = _STAND_INS
    calls = 0  # of the whole pickle

    def find_class(self, module: str, name: str) -> Any:
        if name == "deque" and self.calls > _MOST_CALLS:
            raise UnsafePickle("its pickle makes a deque among very many other objects")
        found = self.stand_ins.get((module, name))
        if found is None:
            raise UnsafePickle(f"its pickle needs {f'{module}.{name}'[:100]}")
        return found


def loads_safely(data: bytes) -> Any:
    """Return the plain value in a pickle. Raises :exc:`UnsafePickle` before anything else is imported or called."""
    return _load(_SafeUnpickler, data)


def safe_loads_with(more: Mapping[Name, type]) -> Loads:
    """Return a reader that also allows ``more`` names, each with its stand-in."""
    reader = type("Unpickler", (_SafeUnpickler,), {"stand_ins": {**_STAND_INS, **more}})
    return lambda data: _load(reader, data)


def loader(*, trusted: bool) -> Loads:
    """Return the function that reads pickles: without limits if ``trusted``, otherwise with the allow-list."""
    return pickle.loads if trusted else loads_safely


def _load(reader: type[_SafeUnpickler], data: bytes) -> Any:
    counts = _count_opcodes(data)
    if sum(counts[code] for code in _TUPLES) > _DEEPEST:
        _check_tuples(data)
    unpickler = reader(io.BytesIO(data))
    unpickler.calls = sum(counts[code] for code in _CALLS)
    value = unpickler.load()
    if sum(counts[code] for code in _REFERENCES) > _FEW_REFERENCES:
        _check_parts(value)
    return value


# -- opcodes ----------------------------------------------------------------------------------------------------------

# By opcode: the size of its argument in bytes, or a negative code of pickletools for how its size is found.
_SIZES: dict[int, int] = {ord(op.code): op.arg.n if op.arg else 0 for op in pickletools.opcodes}
_LENGTH_BYTES = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_TWO_LINES = frozenset(ord(op.code) for op in pickletools.opcodes if op.arg and op.arg.name == "stringnl_noescape_pair")
_STOP, _PUT, _LONG_PUT = b".pr"
_REFERENCES = b"ghj2"  # GET, BINGET, LONG_BINGET, DUP: they insert a part again
_TUPLES = b"t\x85\x86\x87"  # TUPLE, TUPLE1, TUPLE2, TUPLE3
_CALLS = b"Rio\x81\x92"  # REDUCE, INST, OBJ, NEWOBJ, NEWOBJ_EX


def _count_opcodes(data: bytes) -> list[int]:
    """Return how often each opcode occurs. Raises :exc:`UnsafePickle` for a memo index beyond the pickle's length.

    Python allocates the memo up to the largest index (``_Unpickler_MemoPut`` in Modules/_pickle.c). A damaged pickle is
    left to the unpickler, which stops at the same place.
    """
    at, end, counts = 0, len(data), [0] * 256
    try:
        while (code := data[at]) != _STOP:
            size = _SIZES[code]
            counts[code] += 1
            start = at + 1
            if size >= 0:
                at = start + size
            elif size == pickletools.UP_TO_NEWLINE:
                at = data.index(b"\n", start) + 1
                if code in _TWO_LINES:
                    at = data.index(b"\n", at) + 1
            else:
                length = _LENGTH_BYTES[size]
                at = start + length + int.from_bytes(data[start : start + length], "little")
            if code in (_LONG_PUT, _PUT):
                index = int.from_bytes(data[start:at], "little") if code == _LONG_PUT else int(data[start : at - 1])
                if index > end:
                    raise UnsafePickle("its pickle needs more memory than its length allows")
    except (IndexError, KeyError, ValueError):
        pass
    return counts


def _check_tuples(data: bytes) -> None:
    """Raise :exc:`UnsafePickle` for deeply nested tuples: Python hashes them, as keys, without a limit to the depth.

    This follows the unpickler's stack. In place of each part it has the depth of tuples in it, which is 0 for every
    other type: only tuples are hashed through their parts.
    """
    stack: list[int] = []
    marks: list[int] = []
    memo: dict[int, int] = {}
    try:
        for opcode, argument, _ in pickletools.genops(data):
            name, before = opcode.name, opcode.stack_before
            if name == "MARK":
                marks.append(len(stack))
            elif name == "POP" and marks and marks[-1] == len(stack):
                marks.pop()
            elif name in _PUTS:
                memo[len(memo) if argument is None else int(argument)] = stack[-1]
            elif name in _GETS:
                stack.append(memo[int(argument or 0)])
            elif name == "DUP":
                stack.append(stack[-1])
            else:
                has_mark = pickletools.markobject in before
                start = marks.pop() - before.index(pickletools.markobject) if has_mark else len(stack) - len(before)
                if start < 0:
                    raise IndexError
                levels = 0
                if name in _FILLS:
                    levels = stack[start]
                elif name.startswith("TUPLE"):
                    levels = 1 + max(stack[start:], default=0)
                if levels > _DEEPEST:
                    raise UnsafePickle("its pickle is nested too deeply")
                stack[start:] = [levels] * len(opcode.stack_after)
    except (IndexError, KeyError, ValueError) as error:
        raise UnsafePickle("its pickle is damaged") from error


_PUTS = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")
_GETS = ("GET", "BINGET", "LONG_BINGET")
# These leave the object in its place, even if they add nothing to it.
_FILLS = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD")


def _check_parts(value: Any) -> None:
    """Raise :exc:`UnsafePickle` for a value with too many parts, each counted as often as it is referred to."""
    counts: dict[int, int] = {}

    def count(part: Any) -> int:
        kind = type(part)
        if kind in (dict, collections.OrderedDict):
            inner = [*part.keys(), *part.values()]
        elif kind in (list, tuple, set, frozenset, collections.deque):
            inner = part
        else:
            return 1
        known = counts.get(id(part))
        if known is None:
            counts[id(part)] = 0  # for a part that contains itself, which other checks find
            known = counts[id(part)] = 1 + sum(map(count, inner))
        return known

    try:
        parts = count(value)
    except RecursionError:
        raise UnsafePickle("its pickle is nested too deeply") from None
    if parts > MOST_PARTS:
        raise UnsafePickle(f"its pickle unfolds into {parts:,} parts" if parts < 10**15 else "its pickle unfolds")
