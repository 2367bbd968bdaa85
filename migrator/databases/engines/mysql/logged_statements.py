"""MySQL and MariaDB: statements in a binary log of rows; those that are not known here may change any row."""

from __future__ import annotations

import re

COMMENT = r"(?:\s|/\*(?!!).*?\*/|#[^\n]*\n|--\s[^\n]*\n)*"
DEFINITION = re.compile(
    rf"{COMMENT}(?:/\*!\d*\s*)?(CREATE|ALTER|DROP|RENAME|TRUNCATE|REPAIR|SET)\b", re.IGNORECASE | re.DOTALL
)
UNCHANGING = re.compile(rf"{COMMENT}(ANALYZE|OPTIMIZE|GRANT|REVOKE|FLUSH)\b", re.IGNORECASE | re.DOTALL)


def defines(statement: str) -> bool:
    """Whether a statement defines or empties the tables that it names, and changes rows of no others."""
    return DEFINITION.match(statement) is not None


def changes_nothing(statement: str) -> bool:
    """Whether no table has other rows after a statement."""
    return UNCHANGING.match(statement) is not None
