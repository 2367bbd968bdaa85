"""Check the JSON documents that commands print against their schemas in `docs/reference/schemas/`."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import jsonschema  # type: ignore[import-untyped]

from migrator.console.reports import Report, to_json
from migrator.management import base
from settings.base import ROOT

SCHEMAS = ROOT / "docs" / "reference" / "schemas"


@cache
def _validator(name: str) -> Any:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(schema)


def check_document(text: str) -> None:
    """Assert that a document follows the schema that it names."""
    document = json.loads(text)
    name = document["schema"].removeprefix("migrator/").partition("@")[0]
    problems = [f"{error.json_path}: {error.message}" for error in _validator(name).iter_errors(document)]
    if problems:
        raise AssertionError(f"the document {name} does not follow its schema: {problems}")


def check_all_documents() -> None:
    """Check every document that a command of this process prints from now on."""
    for name, form in base.PROGRAM_FORMS.items():
        base.PROGRAM_FORMS[name] = _checked(form)


def _checked(form: Callable[[Report], str]) -> Callable[[Report], str]:
    def checked(report: Report) -> str:
        check_document(to_json(report))
        return form(report)

    return checked
