"""The SQL that writes values as text: one table per engine, by kind, for checksums, for lines and for plain copies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .server_lines import LineField, TextFormat


@dataclass(frozen=True)
class TextForms:
    """The expressions that write one column as text; an engine omits those that it has no expression for.

    ``canonical``: text that is equal in all engines if the values are. It holds letters, digits and ``+-.: `` only,
    never a semicolon. ``characters``: the characters of a text, or the hexadecimal digits of bytes, of any length.
    ``stored``: what Django stores in a database that has no type for the kind, which may be a number. It has to be
    right only for values that no source check finds. ``lines``: the field of a line, by its format.
    """

    canonical: str | None = None
    characters: str | None = None
    stored: str | None = None
    lines: Mapping[TextFormat, LineField] = field(default_factory=dict)
