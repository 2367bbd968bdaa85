"""The house keeps its shape: imports go one way, and only an engine's own files know that engine."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import migrator

PACKAGE = Path(migrator.__file__).parent
VENDORS = re.compile(r"postgres|psycopg|mysql|mariadb|sqlite|oracle", re.IGNORECASE)

# The rooms of the house, the lowest first: a module imports from its own room and from lower ones. A name is a package
# with all that is in it, or a module; a module is in the room with the longest name that it begins with.
ROOMS = [
    "errors", "lazy_exports", "clock", "local_hosts", "console", "server_errors", "conf", "stores", "transitions",
    "processes", "stores.copying",
    "databases.tables", "databases.row_counts", "databases.phases", "databases.findings", "databases.engines",
    "databases.endpoints", "databases.moves", "databases.database_files", "databases.primary_keys", "databases.chunks",
    "databases.row_reader", "databases.journal", "databases.run_lock",
    "databases.planning", "databases.run_options", "databases.verification", "databases.migrations",
    "databases.copying", "databases.parallel", "databases.comparison", "databases.executors",
    "databases.resume_recheck", "databases.update_failures", "databases.update", "databases.run_messages",
    "databases.following", "databases.forecasting.model", "databases.result", "databases.abandon_run",
    "databases.run_monitor", "databases.run_confirmation", "databases.run", "databases.forecasting",
    "databases.doctor", "databases.reports",
    "databases.signals", "databases.announcements", "databases.api", "databases",
    "caches.records", "caches.raw_values", "caches.reports", "caches.copying", "caches.transition", "caches",
    "sessions.records", "sessions.comparison", "sessions.table_layouts", "sessions.codec", "sessions.engines",
    "sessions.expiry", "sessions.router", "sessions.stores", "sessions.endpoints", "sessions.hidden_sessions",
    "sessions.convert", "sessions.cached_entries", "sessions.copying", "sessions.verification", "sessions.api",
    "sessions.reports", "sessions.transition", "sessions",
    "tasks", "prometheus", "watch", "urls", "checks", "apps", "management",
]  # fmt: skip


def module_name(path: Path) -> str:
    """Name a file as a module below `migrator`: `databases.engines.base`, and `` for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES: Mapping[str, Path] = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
MODULES = [name for name in FILES if name]


@cache
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


@cache
def ours(name: str) -> frozenset[str]:
    """Name what a module imports of ours; a package that only re-exports its own files is no import of them."""
    return frozenset(found for found in imports(name) if found and found != name)


@cache
def room(name: str) -> int:
    """Return how high the room of a module is."""
    fitting = [one for one in ROOMS if name == one or name.startswith(f"{one}.")]
    assert fitting, f"{name} is in no room"
    return ROOMS.index(max(fitting, key=len))


def test_there_is_something_to_read() -> None:
    assert {"errors", "databases.api", "management.commands.batch_migrate"} <= set(MODULES)
    assert "errors" in ours("console.prompts")
    assert {"databases.run_options", "databases.reports.run"} <= ours("management.database_command")


def test_every_room_is_there_once() -> None:
    assert len(set(ROOMS)) == len(ROOMS)
    assert {ROOMS[room(name)] for name in MODULES} == set(ROOMS)


def test_the_package_itself_imports_nothing() -> None:
    assert [node for node in ast.walk(tree("")) if isinstance(node, ast.Import | ast.ImportFrom)] == []


def test_imports_go_one_way() -> None:
    upward = [
        f"{name} ({ROOMS[room(name)]}) imports {other} ({ROOMS[room(other)]})"
        for name in MODULES
        for other in sorted(ours(name))
        if room(other) > room(name)
    ]
    assert upward == []


def test_errors_import_nothing_of_ours() -> None:
    assert ours("errors") == set()
    assert ours("databases.tables") == set()


def test_no_imports_go_in_circles() -> None:
    graph = {name: ours(name) for name in MODULES}
    for name in MODULES:  # importing a module runs the packages around it, too
        graph[name] = frozenset(other for other in graph[name] if not f"{name}.".startswith(f"{other}."))
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"these import each other: {' <- '.join(error.args[1])}")


def engine(module: str) -> str:
    found = re.match(r"databases\.engines\.([a-z]+)", module)
    return found[1] if found else ""


def test_engines_do_not_know_each_other() -> None:
    strangers = []
    for name in MODULES:
        if own := engine(name):
            known = {"", "base"} if own in ("base", "registry") else {"", "base", own}
            strangers += [f"{name} imports {other}" for other in ours(name) if engine(other) not in known]
    assert strangers == []


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("databases", {"caches", "sessions", "stores"}),
        ("stores", {"databases", "caches", "sessions"}),
        ("caches", {"databases", "sessions"}),
    ],
)
def test_sides_that_do_not_know_each_other(name: str, others: set[str]) -> None:
    assert [
        f"{module} imports {other}"
        for module in MODULES
        if module.partition(".")[0] == name
        for other in ours(module)
        if other.partition(".")[0] in others
    ] == []


# Tables of a key and a value have a file for each engine; the others keep a file of their own by the standard library.
ENGINES = ("databases.engines", "stores.table", "sessions.copying.manifest", "databases.following.changed_keys")


def test_only_engines_name_engines() -> None:
    """Elsewhere a capability is asked for. Docstrings and comments may explain by example."""
    named = []
    for name in MODULES:
        if name.startswith(ENGINES):
            continue
        docstrings = {id(text) for text in docstrings_of(tree(name))}
        named += [
            f"{name}, line {node.lineno}: {text}"
            for node in ast.walk(tree(name))
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


# These need an optional library as a whole, so functions import them, or that library does.
NEED_A_LIBRARY = {"databases.engines.mysql.binlog_reader", "tasks"}


def test_optional_drivers_are_imported_where_they_are_used() -> None:
    """So that a missing one hurts only those who need it."""
    allowed = set(sys.stdlib_module_names) | {"django", "asgiref", "tqdm", "migrator"}
    outside = [
        f"{name} imports {imported}"
        for name in set(MODULES) - NEED_A_LIBRARY
        for node in tree(name).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for imported in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        if not (isinstance(node, ast.ImportFrom) and node.level) and imported.partition(".")[0] not in allowed
    ]
    last_names = {name.rpartition(".")[2] for name in NEED_A_LIBRARY}
    outside += [
        f"{name} imports {node.module}"
        for name in MODULES
        for node in tree(name).body
        if isinstance(node, ast.ImportFrom) and node.level and node.module in last_names
    ]
    assert outside == []
