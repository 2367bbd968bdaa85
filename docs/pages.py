"""The generated parts of the documentation: a name, and the function that returns its Markdown.

``docs/conf.py`` writes them into ``docs/reference/generated/`` before each build; pages include them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from migrator import conf

from .parts import commands, documents, figures, files, lists, values

DOCS = Path(__file__).resolve().parent
GENERATED = DOCS / "reference" / "generated"

PARTS: Mapping[str, Callable[[], str]] = {
    **{name: partial(commands.options, name) for name in commands.COMMANDS if name not in commands.SHORT_FORMS},
    "copy-sessions-short-forms": commands.short_forms,
    "settings": partial(lists.settings, conf.Settings),
    "settings-move": partial(lists.settings, conf.Move),
    "settings-executor": partial(lists.settings, conf.WorkerExecutor),
    "settings-sessions": partial(lists.settings, conf.Sessions),
    "settings-side": partial(lists.settings, conf.SessionSide),
    "checks": lists.checks,
    "exit-codes": lists.exit_codes,
    "errors": lists.error_classes,
    "public-names": lists.public_names,
    "documents": documents.keys,
    "values-counted": values.counted,
    "values-exceptions": values.exceptions,
    "values-foreign": values.foreign_values,
    **{f"figures-{name}": partial(figures.measured, name) for name in figures.NAMES},
    "faults": files.faults,
    "versions": files.versions,
    "contributing": partial(files.document, "CONTRIBUTING.md"),
    "changelog": partial(files.document, "CHANGELOG.md"),
}


def write() -> None:
    """Write every part whose text has changed."""
    GENERATED.mkdir(exist_ok=True)
    for name, part in PARTS.items():
        path, text = GENERATED / f"{name}.md", part()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
