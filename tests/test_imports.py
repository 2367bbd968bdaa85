"""The house keeps its shape: imports go one way, and each engine is known to its own files alone."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import migrator

PACKAGE = Path(migrator.__file__).parent
VENDORS = re.compile(r"postgres|psycopg|mysql|mariadb|sqlite|oracle", re.IGNORECASE)

# What a floor may import: its own and those below. The first pattern that fits a module's name says which floor it is.
FLOORS: list[tuple[str, str]] = [
    ("errors and records", r"errors|terminal|wording|databases\.(tables|findings)"),
    (
        "settings, progress, prompts, reports",
        r"conf|checks|progress|prompts|report|files|streams|links|outages|passwords|interrupts|stopping|phases|silence|tally(_places)?|workers",
    ),
    (
        "the base of all engines",
        r"databases\.engines(\.(base|registry)(\..+)?)?|caches(\.(keys|pickles|records|\w+\.base|tables\.(layout|reading)))?",
    ),
    ("each engine", r"databases\.engines\..+|caches\.(stores|tables|transition)(\..+)?"),
    (
        "conductors",
        r"databases\.(copy|move|abandoning|rows|counting)|caches\.copy|sessions\.(copy|routes|verify|standing|clearing)",
    ),
    (
        "what conductors return, as reports",
        r"databases\.(summary|evidence)|(caches|sessions)\.outcome|sessions\.transition_outcome",
    ),
    (
        "the plan and what walks it",
        r"databases\.(plan|preflight|unmovable|awaited|refused|closure|parents|taking_off|choices|outcome|resume|finish(er)?|recreation(_order)?|ending|entries|migrating|proving|update|load|orders|schedule|crew)",
    ),
    ("stages", r"(databases|sessions)(\..+)?|caches\.(checks|pages)|apps"),
    ("commands", r"management(\..+)?"),
]
ORDER = [
    "errors and records",
    "settings, progress, prompts, reports",
    "the base of all engines",
    "each engine",
    "stages",
    "the plan and what walks it",
    "conductors",
    "what conductors return, as reports",
    "commands",
]


def module_name(path: Path) -> str:
    """Name a file as a module below `migrator`: `databases.engines.base`, and `` for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES: Mapping[str, Path] = {
    module_name(path): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if "migrations" not in path.relative_to(PACKAGE).parts
}


def tree(name: str) -> ast.Module:
    return ast.parse(FILES[name].read_text(encoding="utf-8"))


def imports(name: str) -> Iterator[str]:
    """Name the modules of ours that a module imports, wherever in it."""
    package = name.split(".") if FILES[name].name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "migrator":
                    yield alias.name.partition(".")[2]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = package[: len(package) - node.level + 1]
            elif node.module and node.module.partition(".")[0] == "migrator":
                base = []
            else:
                continue
            module = node.module.removeprefix("migrator").lstrip(".") if node.module and not node.level else node.module
            of = ".".join(part for part in [*base, module] if part)
            for alias in node.names:
                inner = f"{of}.{alias.name}" if of else alias.name
                yield inner if inner in FILES else of


def ours(name: str) -> set[str]:
    """Name what a module imports of ours; a package that only re-exports its own files is no import of them."""
    return {found for found in imports(name) if found and found != name}


def floor(name: str) -> str:
    return next(floor for floor, pattern in FLOORS if re.fullmatch(pattern, name))


MODULES = [name for name in FILES if name]


def test_there_is_something_to_read() -> None:
    assert {"errors", "databases.copy", "management.commands.batch_migrate"} <= set(MODULES)
    assert "errors" in ours("prompts")
    assert {"databases.copy", "databases.summary", "management.runs"} <= ours("management.commands.batch_migrate")
    assert set(ORDER) == {name for name, _ in FLOORS}


def test_the_package_itself_imports_nothing() -> None:
    assert [node for node in ast.walk(tree("")) if isinstance(node, ast.Import | ast.ImportFrom)] == []


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_one_way(name: str) -> None:
    upward = {other for other in ours(name) if ORDER.index(floor(other)) > ORDER.index(floor(name))}
    assert not upward, f"{name} ({floor(name)}) imports {sorted(upward)}"


def test_errors_import_nothing_of_ours() -> None:
    assert ours("errors") == set()
    assert ours("databases.tables") == set()


def test_no_imports_go_in_circles() -> None:
    graph = {name: ours(name) for name in MODULES}
    for name in MODULES:  # importing a module runs the packages around it, too
        graph[name] = {other for other in graph[name] if not f"{name}.".startswith(f"{other}.")}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"these import each other: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("databases.engines.")])
def test_engines_do_not_know_each_other(name: str) -> None:
    def engine(module: str) -> str:
        found = re.match(r"databases\.engines\.([a-z]+)", module)
        return found[1] if found else ""

    own = engine(name)
    if own in ("base", "registry"):
        assert {engine(other) for other in ours(name)} <= {"", "base"}
    else:
        assert {engine(other) for other in ours(name)} <= {"", "base", own}


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("databases")])
def test_databases_know_nothing_of_caches_and_sessions(name: str) -> None:
    assert {other.partition(".")[0] for other in ours(name)}.isdisjoint({"caches", "sessions"})


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("caches")] or ["errors"])
def test_caches_know_nothing_of_databases_and_sessions(name: str) -> None:
    assert {other.partition(".")[0] for other in ours(name)}.isdisjoint({"databases", "sessions"})


# Tables of a key and a value have a file for each engine; the manifest is a file of the standard library.
ENGINES = ("databases.engines", "caches.tables", "sessions.manifest")


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith(ENGINES)])
def test_only_engines_name_engines(name: str) -> None:
    """Elsewhere a capability is asked for. Docstrings and comments may explain by example."""
    read = tree(name)
    docstrings = {id(text) for text in docstrings_of(read)}
    named = [
        f"line {node.lineno}: {text}"
        for node in ast.walk(read)
        for text in words_of(node)
        if id(node) not in docstrings and VENDORS.search(text)
    ]
    assert named == []


def docstrings_of(read: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(read):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first.value


def words_of(node: ast.AST) -> Iterator[str]:
    """Give the names and texts that a node of the source consists of itself."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.Name(id=text) | ast.Attribute(attr=text) | ast.arg(arg=text):
            yield text
        case ast.FunctionDef(name=text) | ast.ClassDef(name=text):
            yield text
        case ast.alias(name=text):
            yield text
        case ast.ImportFrom(module=str(text)):
            yield text
        case ast.keyword(arg=str(text)):
            yield text


@pytest.mark.parametrize("name", MODULES)
def test_optional_drivers_are_imported_where_they_are_used(name: str) -> None:
    """So that a missing one hurts only those who need it."""
    allowed = set(sys.stdlib_module_names) | {"django", "asgiref", "tqdm", "migrator"}
    outside = {
        imported.partition(".")[0]
        for node in tree(name).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for imported in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        if not (isinstance(node, ast.ImportFrom) and node.level)
    }
    assert outside <= allowed
