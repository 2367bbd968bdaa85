"""Pickles read with an allow-list: a value that could run code of somebody else's choice is refused."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

_BUILTINS = ("bytearray", "complex", "frozenset", "range", "set", "slice")
# Each builds a plain value and does nothing else when it is called with any arguments.
SAFE_GLOBALS = frozenset(
    {
        *(("builtins", name) for name in _BUILTINS),
        *(("__builtin__", name) for name in (*_BUILTINS, "xrange")),  # as protocols 0 to 2 spell them
        *(("datetime", name) for name in ("date", "datetime", "time", "timedelta", "timezone")),
        *(("collections", name) for name in ("OrderedDict", "deque")),
        ("_codecs", "encode"),  # how protocols 0 to 2 spell bytes
        ("decimal", "Decimal"),
        ("fractions", "Fraction"),
        ("uuid", "UUID"),
        ("uuid", "SafeUUID"),
        ("django.utils.safestring", "SafeString"),
    }
)

Loads = Callable[[bytes], Any]


class UnsafePickle(Exception):
    """A pickle names something outside the allow-list; ``name`` says what."""

    def __init__(self, module: str, name: str) -> None:
        super().__init__(f"its pickle needs {module}.{name}")
        self.name = f"{module}.{name}"


class _SafeUnpickler(pickle.Unpickler):
    allowed = SAFE_GLOBALS

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self.allowed:
            return super().find_class(module, name)
        raise UnsafePickle(module, name)


def loads_safely(data: bytes) -> Any:
    """Unpickle plain values; raise :exc:`UnsafePickle` before anything else is imported or called."""
    return _SafeUnpickler(io.BytesIO(data)).load()


def safe_loads_with(allowed: frozenset[tuple[str, str]]) -> Loads:
    """Return a reader with another allow-list."""
    reader = type("Unpickler", (_SafeUnpickler,), {"allowed": allowed})
    return lambda data: reader(io.BytesIO(data)).load()


def loader(*, trusted: bool) -> Loads:
    """Choose how pickles are read: with the allow-list, or as the pickle says."""
    return pickle.loads if trusted else loads_safely
