"""MySQL and MariaDB: what their messages say, without the values of rows."""

from __future__ import annotations

import re

# The texts of the messages are in the servers' errmsg-utf8.txt and messages_to_clients.txt.
QUOTED = re.compile(r"\b(entry|value):? '.*'(?= for\b)", re.DOTALL)
AT_END = re.compile(r"\bvalue: '.*'$", re.DOTALL)
PARTITION = re.compile(r"\bno partition for value .*$", re.DOTALL)
EXPRESSION = re.compile(r"\bis out of range in '.*'", re.DOTALL)


def without_values(message: str) -> str:
    """Return a message with the names in it, and none of the values."""
    message = AT_END.sub("value", QUOTED.sub(r"\1", message))
    return EXPRESSION.sub("is out of range", PARTITION.sub("no partition for the value", message))
