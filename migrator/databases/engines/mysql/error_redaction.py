"""MySQL and MariaDB: error messages without the values of rows."""

from __future__ import annotations

import re

# The formats of the messages: errmsg-utf8.txt in MariaDB's source, messages_to_clients.txt in MySQL's.
QUOTED = re.compile(r"\b(entry|value):? '.*'(?= for\b)", re.DOTALL)
AT_END = re.compile(r"\bvalue: '.*'$", re.DOTALL)
PARTITION = re.compile(r"\bno partition for value .*$", re.DOTALL)
EXPRESSION = re.compile(r"\bis out of range in '.*'", re.DOTALL)


def without_values(message: str) -> str:
    """Return a message with its names of columns and keys, but without values."""
    message = AT_END.sub("value", QUOTED.sub(r"\1", message))
    return EXPRESSION.sub("is out of range", PARTITION.sub("no partition for the value", message))
