"""The README and CONTRIBUTING say what there is: each command, option, code and target, and none besides."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import shlex
import textwrap
from argparse import Action
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard, get_args, get_type_hints

import pytest
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand, CommandParser

import migrator.management.commands
from migrator import conf, errors
from migrator.console import interrupts
from settings.base import ROOT
from tests.management.running import another_alias

README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
DOCUMENTS = {"README": README, "CONTRIBUTING": CONTRIBUTING, "CHANGELOG": CHANGELOG}

COMMANDS = sorted(
    path.stem for path in Path(*migrator.management.commands.__path__).glob("*.py") if not path.stem.startswith("_")
)
# Commands of Django that examples may call; the README explains none of their options.
BORROWED = {"check", "migrate"}

HEADING = re.compile(r"^(#+) (.*)$")
FENCE = re.compile(r"^ *```(\w*)$")
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
ROW = re.compile(r"^\| (.*?) \|", re.MULTILINE)


# -- reading the documents --------------------------------------------------------------------------------------------


def sections(document: str) -> dict[str, str]:
    """Give the text below each heading, that of deeper headings included."""
    found: dict[str, str] = {}
    open_headings: list[tuple[int, str]] = []
    is_code = False
    for line in document.splitlines():
        is_code ^= bool(FENCE.match(line))
        heading = None if is_code else HEADING.match(line)
        if heading:
            level = len(heading[1])
            open_headings = [(other, title) for other, title in open_headings if other < level]
            open_headings.append((level, heading[2]))
            assert heading[2] not in found, f"two headings say {heading[2]!r}"
            found[heading[2]] = ""
        for _, title in open_headings:
            found[title] += f"{line}\n"
    return found


def blocks(document: str) -> Iterator[tuple[str, str]]:
    """Give each fenced block's language and code."""
    language: str | None = None
    lines: list[str] = []
    for line in document.splitlines():
        fence = FENCE.match(line)
        if fence and language is None:
            language, lines = fence[1], []
        elif fence:
            assert language is not None
            yield language, textwrap.dedent("\n".join(lines))
            language = None
        else:
            lines.append(line)


def prose(document: str) -> str:
    """Give the text outside of fenced blocks."""
    return "".join(document.split("```")[::2])


def spans(document: str) -> list[str]:
    """Give the code within the prose's lines."""
    return [span.replace(r"\|", "|") for span in re.findall(r"`([^`]+)`", prose(document))]


def lines_of_code(document: str) -> Iterator[str]:
    """Give the lines that a reader may type: those of blocks, continued ones joined, and the code within prose."""
    for _, code in blocks(document):
        yield from code.replace("\\\n", " ").splitlines()
    yield from spans(document)


def first_column(text: str) -> list[str]:
    """Give what the first cells of a section's tables have in code."""
    return [span for cell in ROW.findall(text) for span in spans(cell)]


def examples(document: str) -> list[list[str]]:
    """Give the words behind `manage.py` of every call in a document."""
    found = (re.match(r"(?:\$ )?(?:python )?manage\.py (.*)", line) for line in lines_of_code(document))
    return [shlex.split(call[1]) for call in found if call]


EXAMPLES = [(name, words) for name, document in DOCUMENTS.items() for words in examples(document)]


# -- asking the commands ----------------------------------------------------------------------------------------------


def parser_of(command: str) -> CommandParser:
    loaded: BaseCommand = load_command_class(get_commands()[command], command)
    return loaded.create_parser("manage.py", command)


def own_actions(command: str) -> list[Action]:
    """Give a command's arguments, without those that every command of Django has."""
    common = {option for action in BaseCommand().create_parser("", "")._actions for option in action.option_strings}
    return [action for action in parser_of(command)._actions if not common & set(action.option_strings)]


def own_options(command: str) -> set[str]:
    return {option for action in own_actions(command) for option in action.option_strings}


def every_option(command: str) -> set[str]:
    return {option for action in parser_of(command)._actions for option in action.option_strings}


SECTIONS = sections(README)


# -- the commands -----------------------------------------------------------------------------------------------------


def test_there_is_something_to_compare() -> None:
    assert {"batch_migrate", "batch_migrate_models", "verify_counts"} <= set(COMMANDS)
    assert {"--source", "--dest", "--format"} <= own_options("verify_counts")
    assert "--verbosity" not in own_options("verify_counts")
    assert len(EXAMPLES) >= 10
    assert ["verify_counts", "--source", "default", "--dest", "new"] in examples(README)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_a_section(command: str) -> None:
    assert f"`{command}`" in SECTIONS


def test_each_section_named_like_a_command_is_of_one() -> None:
    named = {title.strip("`") for title in SECTIONS if re.fullmatch(r"`\w+`", title)}
    assert named <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_option_is_in_the_table_of_its_command(command: str) -> None:
    table = {option for span in first_column(SECTIONS[f"`{command}`"]) for option in OPTION.findall(span)}
    assert own_options(command) - table == set(), "in the parser, and not in the README"
    assert table - every_option(command) == set(), "in the README, and not in the parser"


@pytest.mark.parametrize("command", COMMANDS)
def test_each_positional_argument_is_in_the_table_of_its_command(command: str) -> None:
    table = " ".join(first_column(SECTIONS[f"`{command}`"]))
    for action in own_actions(command):
        if not action.option_strings:
            assert str(action.metavar or action.dest) in table


@pytest.mark.parametrize("command", COMMANDS)
def test_choices_and_metavars_are_those_of_the_parser(command: str) -> None:
    """Where the table shows what an option takes, it shows what the parser takes."""
    taken: dict[str, object] = {}
    for action in own_actions(command):
        shown = "|".join(map(str, action.choices)) if action.choices else action.metavar
        taken |= dict.fromkeys(action.option_strings, shown if action.nargs != 0 else None)
    for span in first_column(SECTIONS[f"`{command}`"]):
        option, _, shown = span.partition(" ")
        if shown and option in taken:
            assert shown == taken[option], span


def test_every_option_named_anywhere_is_one_of_ours() -> None:
    known = set().union(*map(every_option, [*COMMANDS, *BORROWED]))
    for name, document in DOCUMENTS.items():
        ours = [span for span in spans(document) if span.startswith("--")]
        unknown = {option for span in ours for option in OPTION.findall(span)} - known
        assert unknown == set(), name


@pytest.mark.parametrize(
    ("document", "words"), EXAMPLES, ids=lambda value: value if isinstance(value, str) else " ".join(value)
)
def test_each_example_parses(document: str, words: list[str]) -> None:
    command, *arguments = words
    assert command in {*COMMANDS, *BORROWED}, f"{document} calls {command}"
    with another_alias("new", ENGINE="django.db.backends.sqlite3", NAME=":memory:"):  # migrate takes no other aliases
        parser_of(command).parse_args(arguments)  # raises CommandError


# -- the functions ----------------------------------------------------------------------------------------------------


PYTHON = [code for language, code in blocks(README) if language == "python"]


def calls(code: str) -> Iterator[tuple[object, list[str]]]:
    """Give each function of ours that a block imports and calls, with the keywords it gives."""
    read = ast.parse(code)
    imported = {
        alias.name: getattr(importlib.import_module(node.module), alias.name)
        for node in ast.walk(read)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    for node in ast.walk(read):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in imported:
            assert not node.args
            yield imported[node.func.id], [keyword.arg or "" for keyword in node.keywords]


@pytest.mark.parametrize("code", PYTHON)
def test_code_can_be_read_and_its_calls_fit(code: str) -> None:
    for function, keywords in calls(code):
        assert callable(function)
        signature = inspect.signature(function)
        signature.bind(**dict.fromkeys(keywords))
        if "keywords" in signature.parameters:  # as Unpack[…] of a TypedDict
            (named,) = get_args(get_type_hints(function)["keywords"])
            assert set(keywords) <= named.__optional_keys__ | signature.parameters.keys()


PUBLIC = ("migrator.databases", "migrator.sessions", "migrator.caches", "migrator.errors")


@pytest.mark.parametrize("module", PUBLIC[:3])
def test_every_public_name_can_be_imported(module: str) -> None:
    package = importlib.import_module(module)
    assert all(callable(getattr(package, name)) for name in package.__all__)
    with pytest.raises(AttributeError, match="no attribute 'copy'"):
        package.copy  # noqa: B018


def test_code_imports_from_public_modules_alone() -> None:
    imported = {
        node.module
        for code in PYTHON
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("migrator")
    }
    assert imported
    assert imported <= set(PUBLIC)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_section_calls_the_function_behind_its_command(command: str) -> None:
    called = {
        node.func.id
        for language, code in blocks(SECTIONS[f"`{command}`"])
        if language == "python"
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert command in called


# -- codes, checks, settings ------------------------------------------------------------------------------------------


def kinds(error: type[errors.MigratorError]) -> Iterator[type[errors.MigratorError]]:
    yield error
    for kind in error.__subclasses__():
        yield from kinds(kind)


def test_exit_codes_are_those_that_there_are() -> None:
    # A run that comes to its end has 0, 3, 4 or 5 (RunResult.exit_code); the others are of errors and signals.
    real = {
        0,
        3,
        4,
        errors.WORK_TO_DO,
        *(kind.exit_code for kind in kinds(errors.MigratorError)),
        *(128 + n for n in interrupts.SIGNALS),
    }
    cells = ROW.findall(SECTIONS["Exit codes"])
    documented = {int(code) for cell in cells for code in re.findall(r"\b\d+\b", cell)}
    assert documented == real


def test_system_checks_are_those_that_there_are() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in Path(migrator.__file__).parent.rglob("*.py"))
    real = set(re.findall(r"\"(migrator\.[EW]\d{3})\"", code))
    assert {
        span for span in first_column(SECTIONS["Settings and system checks"]) if span.startswith("migrator.")
    } == real


def test_settings_are_those_that_there_are() -> None:
    real = {field.name for field in dataclasses.fields(conf.Settings)}
    documented = {span for span in first_column(SECTIONS["Settings and system checks"]) if span.isupper()}
    assert documented == real
    for code in PYTHON:
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MIGRATOR":
                assert set(ast.literal_eval(node.value)) <= real


def test_the_default_chunk_size_is_the_one_told() -> None:
    assert f"{conf.DEFAULT_CHUNK_SIZE:,}" in SECTIONS["Settings and system checks"]
    assert f"{conf.DEFAULT_CHUNK_SIZE:,}" in SECTIONS["`batch_migrate`"]


# -- around the code --------------------------------------------------------------------------------------------------


def targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_make_targets_exist(name: str) -> None:
    called = [line.removeprefix("$ ").split() for line in lines_of_code(DOCUMENTS[name])]
    named = {word for words in called if words[:1] == ["make"] for word in words[1:] if re.fullmatch(r"[a-z-]+", word)}
    assert named <= targets()


def test_contributing_names_every_target() -> None:
    named = {word for line in lines_of_code(CONTRIBUTING) if line.startswith("make ") for word in line.split()[1:]}
    assert targets() - named == {"help"}  # which is bare make


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in sections(DOCUMENTS[name])}
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", prose(DOCUMENTS[name])):
        if target.startswith("#"):
            assert target.removeprefix("#") in anchors
        else:
            assert (ROOT / target).exists()


def test_paths_in_contributing_exist() -> None:
    paths = [
        span for span in spans(CONTRIBUTING) if re.fullmatch(r"(migrator|tests|demo|settings|\.ci)/[\w./-]*", span)
    ]
    assert len(paths) >= 10
    assert [path for path in paths if not (ROOT / path).exists()] == []


JSON_MODULES = (
    "databases/reports/plan.py",
    "databases/reports/run.py",
    "databases/reports/update.py",
    "databases/reports/comparison.py",
    "databases/reports/verification.py",
    "sessions/reports.py",
    "caches/reports.py",
    "stores/copying/reports.py",
)
WRITERS = re.compile(r"\w+_report|endpoint|named|\w*_?documents?")


def is_record(node: ast.AST) -> TypeGuard[ast.Call]:
    """Whether code takes attributes of an object into a document, under their own names."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "record"


@pytest.mark.parametrize("module", JSON_MODULES)
def test_the_readme_has_every_key_of_json_documents(module: str) -> None:
    tree = ast.parse((ROOT / "migrator" / module).read_text(encoding="utf-8"))
    writers = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and WRITERS.fullmatch(n.name)]
    nodes = [node for writer in writers for node in ast.walk(writer)]
    written = [key for node in nodes if isinstance(node, ast.Dict) for key in node.keys]
    written += [name for node in nodes if is_record(node) for name in node.args[1:]]
    keys = {key.value for key in written if isinstance(key, ast.Constant)}

    assert keys
    assert [key for key in sorted(keys) if not re.search(rf"[`\".]{key}[`\"]", README)] == []
