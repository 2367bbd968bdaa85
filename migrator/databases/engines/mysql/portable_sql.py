"""MySQL and MariaDB: how the catalogue prints literals."""

from __future__ import annotations

from ..base.portable_sql import Translation


class MySQLTranslation(Translation):
    """A condition that MySQL or MariaDB printed."""

    # LENGTH counts bytes (MySQL manual, "String Functions and Operators").
    length_functions = frozenset(("CHAR_LENGTH", "CHARACTER_LENGTH"))

    def _take_word(self, word: str) -> None:
        # A literal comes with its character set: _utf8mb4'text' (MySQL manual, "Character Set Introducers").
        if not (word.upper().startswith("_UTF8") and self._peek().startswith("'")):
            super()._take_word(word)
