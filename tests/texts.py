"""All texts of the package that people read: messages, help, reports. `python -m tests.texts` prints them.

`tests/texts.txt` keeps what it printed last, so that a change of a text is a line of a diff, and none changes unseen.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import migrator

PACKAGE = Path(migrator.__file__).parent
KEPT = Path(__file__).with_suffix(".txt")
# Two words in a row; a single one is a name, and a statement of SQL is for a server.
PROSE = re.compile(r"[A-Za-z,;:'] [a-z]{2,}|[a-z]{2,} [A-Za-z'{(]")
STATEMENT = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|CASE WHEN|FROM pg_|EXISTS|PRAGMA|AND NOT)\b")


def texts() -> Iterator[str]:
    """Yield each module's name and its texts, in the order of the alphabet; ``{}`` stands for a value."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = {text for text in _literals(tree) if PROSE.search(text) and not STATEMENT.search(text)}
        if found:
            yield f"# {path.relative_to(PACKAGE)}"
            yield from sorted(found)
            yield ""


def _literals(tree: ast.Module) -> Iterator[str]:
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    parts: set[int] = set()  # of texts with values in them
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts.update(id(part) for part in node.values)
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield text.replace("\n", "\\n")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | parts:
            yield node.value.replace("\n", "\\n")


if __name__ == "__main__":
    print("\n".join(texts()))  # noqa: T201
