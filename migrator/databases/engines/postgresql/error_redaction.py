"""PostgreSQL: its messages without the values of rows."""

from __future__ import annotations

import re

# Class 22, "Data Exception", is the one whose messages quote values (PostgreSQL manual, appendix A).
VALUE_AT_END = re.compile(r""":\s*(?:".*"|(?:0x[0-9a-f]{2}\s*)+)$""", re.DOTALL)
BYTES = re.compile(r" with byte sequence(?: 0x[0-9a-f]{2})+")
# A quoted word after one of these is its name.
NAMES = (
    "column|constraint|database|domain|encoding|enum|function|index|language|operator|parameter|relation|role|schema|"
    "table|type"
)
OTHER_QUOTED = re.compile(rf'(?<!\w)(?P<kept>(?:{NAMES}) "[^"]*")|\s*"[^"]*"')


def without_values(message: str, sqlstate: str) -> str:
    """Return a message with the names in it, but without values and their bytes."""
    if not sqlstate.startswith("22"):
        return message
    message = BYTES.sub("", VALUE_AT_END.sub("", message))
    message = re.sub(r'^value ".*" (?=is |out )', "value ", message, flags=re.DOTALL)
    return OTHER_QUOTED.sub(lambda found: found["kept"] or "", message)
