"""An option is a field of a dataclass: the commands offer it and the functions take it under the same name."""

from __future__ import annotations

import dataclasses
from typing import Any, get_type_hints

import pytest
from django.core.management import load_command_class

from migrator.databases import batch_migrate, batch_migrate_models, verify_counts
from migrator.databases.comparison import CompareKeywords, CompareOptions
from migrator.databases.run_options import RunKeywords, RunOptions, WholeRunKeywords


@pytest.mark.parametrize(("options", "keywords"), [(RunOptions, WholeRunKeywords), (CompareOptions, CompareKeywords)])
def test_the_keywords_are_the_fields(options: Any, keywords: Any) -> None:
    hints = get_type_hints(options)
    assert get_type_hints(keywords) == {field.name: hints[field.name] for field in dataclasses.fields(options)}


@pytest.mark.parametrize(
    ("command", "options", "keywords"),
    [
        ("batch_migrate", RunOptions, WholeRunKeywords),
        ("batch_migrate_models", RunOptions, RunKeywords),
        ("verify_counts", CompareOptions, CompareKeywords),
    ],
)
def test_a_command_offers_what_its_function_takes(command: str, options: Any, keywords: Any) -> None:
    parser = load_command_class("migrator", command).create_parser("manage.py", command)
    parsed = vars(parser.parse_args(["--source=a", "--dest=b", *(["shop.Order"] if "models" in command else [])]))
    defaults = {field.name: field.default for field in dataclasses.fields(options)}
    fields = keywords.__optional_keys__ - {"resume_hint"}
    assert {name: parsed[name] for name in fields} == {name: defaults[name] for name in fields}
    assert not parsed.keys() & (defaults.keys() - fields)


@pytest.mark.parametrize(
    ("function", "keyword"),
    [(batch_migrate, "replaces"), (batch_migrate_models, "replace"), (verify_counts, "modes")],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_an_unknown_keyword_is_an_error_of_the_caller(function: Any, keyword: str) -> None:
    models = {"models": ["testapp.Tag"]} if function is batch_migrate_models else {}
    with pytest.raises(TypeError, match=keyword):
        function(source="a", dest="b", **models, **{keyword: None})
