"""The documentation says what there is: each command, option, code and target, and none besides."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from django.conf import settings as django_settings
from django.core.checks import ERROR, run_checks
from django.dispatch import Signal
from django.test import override_settings

import migrator
from docs import pages
from docs.parts import documents, figures, lists
from docs.parts.commands import COMMANDS, SHORT_FORMS, own_actions, parser_of
from migrator import conf, errors
from migrator.checks.messages import PROBLEMS
from migrator.console import interrupts
from settings.base import ROOT
from tests.management.running import another_alias
from tests.tutorials import Block, blocks

DOCS = ROOT / "docs"
ROOT_DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "FAULTS.md")
PAGES = sorted(path for path in DOCS.rglob("*.md") if not path.is_relative_to(pages.GENERATED))
DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [*(ROOT / name for name in ROOT_DOCUMENTS), *PAGES]
}
CONTRIBUTING = DOCUMENTS["CONTRIBUTING.md"]

# Commands of Django that examples may call; the documentation explains none of their options.
BORROWED = {
    *("check", "createsuperuser", "makemigrations", "migrate", "runserver", "shell", "startapp", "update_index"),
    *("clearsessions", "createcachetable", "collectstatic", "test", "dumpdata", "loaddata", "help", "sqlsequencereset"),
    *("dbshell", "inspectdb"),
}
# Options of other programs.
FOREIGN = {"--all", "--cov-report", "--figures", "--help", "--group", "--prefetch-multiplier"}

TESTED = re.compile(r"^- `([\w/]+\.py)::(test_\w+)`$", re.MULTILINE)
INCLUDE = re.compile(r"^```\{include\} (\S+)$", re.MULTILINE)
TOCTREE = re.compile(r"^```\{toctree\}\n(?::[^\n]*\n)*\n(.*?)^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(#+) (.*)$")
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]+)\)")


# -- reading the documents --------------------------------------------------------------------------------------------


def prose(document: str) -> str:
    """Return the text outside of fenced blocks."""
    return re.sub(r"^( *)```.*?^\1```$", "", document, flags=re.MULTILINE | re.DOTALL)


def spans(document: str) -> list[str]:
    """Return the code within the prose's lines."""
    return [" ".join(span.replace(r"\|", "|").split()) for span in re.findall(r"`([^`]+)`", prose(document))]


def lines_of_code(document: str) -> Iterator[str]:
    """Yield the lines that a reader may type: those of blocks, continued ones joined, and the code within prose."""
    for block in blocks(document):
        yield from re.sub(r"\\\n\s*", "", block.text).splitlines()
    yield from spans(document)


def examples(document: str) -> Iterator[list[str]]:
    """Yield the words behind `manage.py` of every call in a document."""
    for line in lines_of_code(document):
        if (call := re.match(r"(?:\$ )?(?:python3? )?(?:\./)?manage\.py (\w+.*)", line)) and "…" not in line:
            words = shlex.split(call[1], comments=True)
            ends = (n for n, word in enumerate(words) if re.fullmatch(r"\||<|\d?>.*|&&?|;", word))
            yield [word.removesuffix(";") for word in words[: next(ends, len(words))]]


def anchors(document: str) -> set[str]:
    """Return the anchors of a document's headings, as code hosts and the site make them."""
    outside = prose(document).splitlines()
    titles = [found[2] for line in outside if (found := HEADING.match(line))]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


EXAMPLES = {" ".join(words): words for document in DOCUMENTS.values() for words in examples(document)}
PYTHON = {
    f"{name}:{block.line}": block
    for name, document in DOCUMENTS.items()
    for block in blocks(document)
    if block.language == "python"
}


def test_there_is_something_to_read() -> None:
    assert {"batch_migrate", "batch_migrate_models", "verify_counts"} <= set(COMMANDS)
    assert len(EXAMPLES) >= 50
    assert len(PYTHON) >= 20
    assert "verify_counts --source default --dest new" in EXAMPLES


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_block_has_a_language(name: str) -> None:
    assert [block.line for block in blocks(DOCUMENTS[name]) if not block.language] == []


# -- the commands -----------------------------------------------------------------------------------------------------


def every_option(command: str) -> set[str]:
    return {option for action in parser_of(command)._actions for option in action.option_strings}


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - set(SHORT_FORMS)))
def test_each_option_is_once_in_the_part_of_its_command(command: str) -> None:
    rows = [line.split(" | ")[0] for line in pages.PARTS[command]().splitlines()]
    shown = Counter(option for row in rows for option in OPTION.findall(row))
    own = {option for action in own_actions(command) for option in action.option_strings}
    assert dict(shown) == dict.fromkeys(own, 1)
    positional = [str(action.metavar) for action in own_actions(command) if not action.option_strings]
    assert all(any(row.startswith(f"| `{name}") for row in rows) for name in positional)


@pytest.mark.parametrize("command", sorted(SHORT_FORMS))
def test_each_short_form_has_a_section_and_an_example_and_no_option_of_its_own(command: str) -> None:
    page = DOCUMENTS[f"docs/reference/commands/{SHORT_FORMS[command]}.md"]
    assert f"\n### `{command}`\n" in page
    assert any(words[0] == command for words in examples(page))
    assert f"[`{command}`](#{command})" in pages.PARTS["copy-sessions-short-forms"]()
    assert f"[`{command}`]({SHORT_FORMS[command]}.md#{command})" in DOCUMENTS["docs/reference/commands/index.md"]
    assert every_option(command) <= every_option(SHORT_FORMS[command])


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - set(SHORT_FORMS)))
def test_each_command_has_a_page_with_its_options_and_an_example_of_its_function(command: str) -> None:
    page = DOCUMENTS[f"docs/reference/commands/{command}.md"]
    assert page.startswith(f"# `{command}`\n")
    assert f"../generated/{command}.md" in INCLUDE.findall(page)
    assert any(words[0] == command for words in examples(page))
    called = {node.func.id for block in python_of(page) for node in ast.walk(block) if is_call(node)}
    assert command in called


def python_of(page: str) -> Iterator[ast.Module]:
    return (ast.parse(block.text) for block in blocks(page) if block.language == "python")


def is_call(node: ast.AST) -> Any:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_option_named_is_one_of_ours(name: str) -> None:
    known = set().union(FOREIGN, *map(every_option, [*COMMANDS, "migrate", "check"]))
    ours = [span for span in spans(DOCUMENTS[name]) if span.startswith("--")]
    assert {option for span in ours for option in OPTION.findall(span)} - known == set()


@pytest.mark.parametrize("words", EXAMPLES.values(), ids=list(EXAMPLES))
def test_each_example_parses(words: list[str]) -> None:
    command, *arguments = words
    assert command in {*COMMANDS, *BORROWED}
    if command in COMMANDS:
        with suppress(SystemExit):  # of --help and --version
            parser_of(command).parse_args(arguments)  # raises CommandError
    elif arguments and command in ("migrate", "check"):
        with ExitStack() as stack:  # they take no other aliases than those of the settings
            for alias in ("new", "sessions", "archive"):
                stack.enter_context(another_alias(alias, ENGINE="django.db.backends.sqlite3", NAME=":memory:"))
            parser_of(command).parse_args(arguments)


# -- the functions ----------------------------------------------------------------------------------------------------


def calls(code: str) -> Iterator[tuple[object, list[str]]]:
    """Yield each function of ours that a block imports and calls, with the keywords that it passes."""
    read = ast.parse(code)
    imported = {
        alias.name: getattr(importlib.import_module(node.module), alias.name)
        for node in ast.walk(read)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("migrator")
        for alias in node.names
    }
    for node in ast.walk(read):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in imported:
            assert not node.args
            yield imported[node.func.id], [keyword.arg or "" for keyword in node.keywords]


@pytest.mark.parametrize("block", PYTHON.values(), ids=list(PYTHON))
def test_code_can_be_read_and_its_calls_fit(block: Block) -> None:
    for function, keywords in calls(block.text):
        assert callable(function)
        signature = inspect.signature(function)
        signature.bind(**dict.fromkeys(keywords))
        if "keywords" in signature.parameters:  # as Unpack[…] of a TypedDict
            (named,) = get_args(get_type_hints(function)["keywords"])
            assert set(keywords) <= named.__optional_keys__ | signature.parameters.keys()


@pytest.mark.parametrize("module", lists.MODULES)
def test_every_public_name_can_be_imported(module: str) -> None:
    package = importlib.import_module(module)
    for name in package.__all__:
        assert callable(found := getattr(package, name)) or isinstance(found, Signal)
    with pytest.raises(AttributeError, match="no attribute 'copy'"):
        package.copy  # noqa: B018


def test_code_imports_from_public_modules_alone() -> None:
    imported = {
        node.module
        for block in PYTHON.values()
        for node in ast.walk(ast.parse(block.text))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("migrator")
    }
    assert imported
    assert imported <= {*lists.MODULES, "migrator.errors"}


# -- settings, checks, codes ------------------------------------------------------------------------------------------

SETTINGS = {"MIGRATOR", "CACHES", "DATABASES", "DATABASE_ROUTERS", "SESSION_CACHE_ALIAS", "SESSION_ENGINE"}
LOCAL = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}


def assigned(block: Block) -> set[str]:
    """Return the settings that a block assigns, or changes."""
    targets = [node.targets[0] for node in ast.parse(block.text).body if isinstance(node, ast.Assign)]
    roots = [next(part for part in ast.walk(target) if isinstance(part, ast.Name)) for target in targets]
    return {root.id for root in roots} & SETTINGS


def settings_of(block: Block) -> dict[str, Any]:
    """Run a block of settings in a project with the aliases that the documentation uses."""
    caches = {alias: {**LOCAL, "KEY_PREFIX": alias} for alias in ("default", "new", "old", "sessions", "redis")}
    names: dict[str, Any] = {
        "os": os,
        "INSTALLED_APPS": [],
        "DATABASES": {alias: {"OPTIONS": {}} for alias in ("default", "new", "old", "sessions")},
        "CACHES": caches,
        "MIGRATOR": {"SESSIONS": {}},
    }
    exec(block.text, names)  # noqa: S102
    return {name: names[name] for name in assigned(block)} | {"CACHES": {**caches, **names["CACHES"]}}


@pytest.mark.parametrize(
    "block", [block for block in PYTHON.values() if assigned(block)], ids=[n for n, b in PYTHON.items() if assigned(b)]
)
def test_settings_pass_djangos_check_command(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in re.findall(r"os\.environ\[\"(\w+)\"\]", block.text):
        monkeypatch.setenv(variable, "secret")
    given = settings_of(block)
    databases = {"new", "old", "sessions", "archive", *given.pop("DATABASES", ())} - {"default"}
    with ExitStack() as stack:
        for alias in databases:
            stack.enter_context(another_alias(alias, ENGINE="django.db.backends.sqlite3", NAME=f"{alias}.sqlite3"))
        packages = [package for package in ("user_sessions", "qsessions") if f"{package}.backends" in block.text]
        if packages:
            given["INSTALLED_APPS"] = [*django_settings.INSTALLED_APPS, *packages]
        stack.enter_context(override_settings(**given))
        # Without their databases, which need not exist: Django 6.1 would connect to all of them.
        found = run_checks(databases=())
    assert [str(problem) for problem in found if problem.level >= ERROR] == []


def test_exit_codes_are_those_that_there_are() -> None:
    # A run that comes to its end has 0, 3, 4 or 5 (RunResult.exit_code); the others are of errors and signals.
    kinds = [errors.MigratorError, *errors.MigratorError.__subclasses__()]
    real = {0, 3, 4, errors.WORK_TO_DO, *(kind.exit_code for kind in kinds), *(128 + n for n in interrupts.SIGNALS)}
    assert set(errors.EXIT_CODES) == real


def test_system_checks_are_those_that_there_are() -> None:
    code = "".join(
        path.read_text(encoding="utf-8")
        for path in Path(migrator.__file__).parent.rglob("*.py")
        if path.name != "messages.py"
    )
    assert set(PROBLEMS) == set(re.findall(r"\"(migrator\.[EW]\d{3})\"", code))


def test_named_checks_exist() -> None:
    named = {id for document in DOCUMENTS.values() for id in re.findall(r"migrator\.[EW]\d{3}", document)}
    assert named <= set(PROBLEMS)


def test_every_setting_has_a_meaning() -> None:
    for kind in (conf.Settings, conf.Move, conf.WorkerExecutor, conf.Sessions, conf.SessionSide):
        assert all(each.metadata["meaning"].endswith(".") for each in conf.fields(kind))


# -- the site ---------------------------------------------------------------------------------------------------------


def test_every_generated_part_is_on_a_page() -> None:
    included = {
        (path.parent / name).resolve().stem
        for path in PAGES
        for name in INCLUDE.findall(path.read_text(encoding="utf-8"))
        if "generated/" in name
    }
    assert included == set(pages.PARTS)


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = {DOCS / "index.md"}
    for path in PAGES:
        for tree in TOCTREE.findall(path.read_text(encoding="utf-8")):
            listed |= {path.parent / f"{name}.md" for name in tree.split()}
    assert listed == set(PAGES)


@pytest.mark.parametrize("path", sorted((DOCS / "howto").glob("*.md")), ids=lambda path: path.stem)
def test_every_how_to_names_tests_that_exist(path: Path) -> None:
    named = TESTED.findall(path.read_text(encoding="utf-8").rpartition("\nTested by:\n")[2])
    assert named
    for file, name in named:
        assert f"\ndef {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), f"{file}::{name}"


def test_every_schema_is_on_the_page_of_documents() -> None:
    assert {path.stem for path in documents.SCHEMAS.glob("*.json")} == set(documents.NAMES)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    for target in LINK.findall(prose(DOCUMENTS[name])):
        file, _, anchor = target.partition("#")
        path = (ROOT / name).parent / file if file else ROOT / name
        assert path.exists(), target
        if anchor and path.suffix == ".md":
            text = path.read_text(encoding="utf-8")
            parts = [pages.PARTS[Path(part).stem]() for part in INCLUDE.findall(text) if "generated/" in part]
            assert anchor in set().union(anchors(text), *map(anchors, parts)), target


def test_the_readme_has_the_measured_figures() -> None:
    assert figures.readme_table() in DOCUMENTS["README.md"], "copy it from docs.parts.figures.readme_table()"


def test_the_readme_is_short() -> None:
    assert DOCUMENTS["README.md"].count("\n") <= 250


# -- around the code --------------------------------------------------------------------------------------------------


def targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))


def test_make_targets_exist() -> None:
    called = [line.removeprefix("$ ").split() for text in DOCUMENTS.values() for line in lines_of_code(text)]
    named = {word for words in called if words[:1] == ["make"] for word in words[1:] if re.fullmatch(r"[a-z-]+", word)}
    assert named <= targets()


def test_contributing_names_every_target() -> None:
    called = [line.removeprefix("$ ") for line in lines_of_code(CONTRIBUTING)]
    named = {word for line in called if line.startswith("make ") for word in line.split()[1:]}
    assert targets() - named == {"help"}  # which is bare make


def test_paths_in_contributing_exist() -> None:
    paths = [
        span
        for span in spans(CONTRIBUTING)
        if re.fullmatch(r"(migrator|tests|demo|settings|docs|\.ci)/[\w./-]*", span)
        and not re.search("generated|_build", span)  # made by make docs
    ]
    assert len(paths) >= 10
    assert [path for path in paths if not (ROOT / path).exists()] == []
