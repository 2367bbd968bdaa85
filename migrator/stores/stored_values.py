"""A stored value without the format of one store, so that another store can keep it without reading it."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

# Stand in a record for something that is not a value, such as a list of Redis's own, and for a value that is on the
# wrong server. They are compared by identity: someone may store the same bytes.
NO_VALUE = b"(not a value)"
ELSEWHERE = b"(on another server)"


def reason_against(raw: object) -> str | None:
    """Return why a placeholder is not a value, or None if ``raw`` is a value."""
    if raw is NO_VALUE:
        return "it is not a value but one of the server's own structures"
    if raw is ELSEWHERE:
        return "another client put it on another server than this cache looks for it on"
    return None


class RejectedValue(Exception):
    """A value that the destination cannot hold; the message quotes none of its content."""


# The longest pickle that can be a number: 8 bytes and their framing.
_LARGEST_INTEGER = 24


class _NumberReader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError("a number needs no class")


class Value(NamedTuple):
    """A stored value without the format of one store: the kind of its bytes, and the bytes.

    ``pickle``: bytes that are copied without being read; ``integer``: digits; ``text``: UTF-8; ``bytes``: themselves.
    """

    kind: str
    data: bytes

    @classmethod
    def of_pickle(cls, data: bytes) -> Value:
        """Return the value of a pickle. A small whole number becomes an ``integer``, so that ``incr`` keeps working."""
        if len(data) <= _LARGEST_INTEGER:
            try:
                number = _NumberReader(io.BytesIO(data)).load()
            except Exception:  # it holds something else
                number = None
            if type(number) is int:
                return cls("integer", b"%d" % number)
        return cls("pickle", data)

    def as_pickle(self) -> bytes:
        """Return the value as a pickle. Raises :exc:`RejectedValue` if its kind cannot be pickled."""
        if self.kind == "pickle":
            return self.data
        plain: dict[str, Callable[[], Any]] = {
            "integer": lambda: int(self.data),
            "text": self.data.decode,
            "bytes": lambda: self.data,
        }
        if self.kind not in plain:
            known = "in no known format" if self.kind == "unknown" else f"of the kind {self.kind!r}"
            raise RejectedValue(f"its bytes are {known}, which the destination cannot pickle")
        return pickle.dumps(plain[self.kind](), pickle.HIGHEST_PROTOCOL)
