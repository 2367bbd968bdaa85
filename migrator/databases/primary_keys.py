"""Primary keys of any type: decoded from bytes, as JSON for the journal, and as text for people."""

from __future__ import annotations

import base64
import datetime
import decimal
import hashlib
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .engines.base.values import Unreadable
from .tables import Table

Key = tuple[Any, ...]


def decode_text(data: bytes) -> str | Unreadable:
    """Decode UTF-8 bytes, or return :class:`Unreadable` if they are not valid."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return Unreadable("a text that is not valid UTF-8", data)


# -- as JSON ---------------------------------------------------------------------------------------------------------

ENCODERS: Mapping[type, Callable[[Any], Any]] = {
    int: int,
    str: str,
    bool: bool,
    float: float.hex,
    bytes: lambda value: base64.b64encode(value).decode(),
    decimal.Decimal: str,
    uuid.UUID: str,
    datetime.datetime: datetime.datetime.isoformat,
    datetime.date: datetime.date.isoformat,
    datetime.time: datetime.time.isoformat,
    datetime.timedelta: lambda value: [value.days, value.seconds, value.microseconds],
    Unreadable: lambda value: [value.reason, base64.b64encode(value.stored).decode()],
}
DECODERS: Mapping[str, Callable[[Any], Any]] = {
    "int": int,
    "str": str,
    "bool": bool,
    "float": float.fromhex,
    "bytes": base64.b64decode,
    "Decimal": decimal.Decimal,
    "UUID": uuid.UUID,
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "timedelta": lambda value: datetime.timedelta(*value),
    "Unreadable": lambda value: Unreadable(value[0], base64.b64decode(value[1])),
}


def encode_key(key: Key | None) -> str | None:
    """Encode a key as JSON with the class of each value.

    Raises :exc:`TypeError` for a class that no database driver returns for a key.
    """
    if key is None:
        return None
    values = [bytes(value) if isinstance(value, memoryview) else value for value in key]
    for value in values:
        if type(value) not in ENCODERS:
            raise TypeError(f"a key of class {type(value).__name__} cannot be encoded")
    return json.dumps([[type(value).__name__, ENCODERS[type(value)](value)] for value in values])


def decode_key(text: str | None) -> Key | None:
    """Decode a key that :func:`encode_key` has encoded."""
    if text is None:
        return None
    return tuple(DECODERS[name](value) for name, value in json.loads(text))


# -- for people -------------------------------------------------------------------------------------------------------


def key_text(table: Table, key: Sequence[Any]) -> str:
    """Format a row's key for people; a session key, which is as good as a password, as its digest.

    An unreadable value is shown as its bytes, in SQL's hexadecimal form.
    """
    if any(table.column(name).attname == "session_key" for name in table.key):
        return f"sha256:{hashlib.sha256(_text(key[0]).encode()).hexdigest()[:16]}"
    texts = [_text(value) for value in key]
    return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"


def _text(value: Any) -> str:
    if isinstance(value, Unreadable) and value.stored is not None:
        return f"x'{value.stored.hex()}'"
    return value.hex() if isinstance(value, bytes | memoryview) else str(value)
