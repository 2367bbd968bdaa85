"""The journeys of the real projects: all that are asked for side by side, for each is one process after the other."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import pytest

from tests.scenarios.realapps.project import Journeys, Project

PROJECTS = {
    "cms": Project(
        "cms",
        visits=["compare", "verify", "tree", "look", "stay", "go_on"],
        options=["--verify=full"],
    ),
    "oscar": Project(
        "oscar",
        visits=["compare", "verify", "materialized_view", "stay", "look", "log_in", "go_on", "move_sessions"],
        options=["--verify=full"],
    ),
    "wagtail": Project(
        "wagtail",
        visits=["compare", "trees", "go_on", "search", "read", "administer"],
        # Its columns differ from engine to engine, and it is built anew from the pages.
        options=["--exclude=wagtailsearch"],
    ),
}


# All are in the dependency group `realapps`. Without its application, a test is not collected; if the command line
# names it, it is collected all the same, and fails.
MISSING = [name for name in PROJECTS if find_spec(name) is None]
collect_ignore = [f"test_{name}.py" for name in MISSING]


@pytest.fixture(scope="session")
def journeys(request: pytest.FixtureRequest) -> Iterator[Journeys]:
    """Start the journeys of the projects whose tests are to run."""
    modules = {item.path.stem for item in request.session.items if isinstance(item, pytest.Function)}
    wanted = {name: one for name, one in PROJECTS.items() if f"test_{name}" in modules}
    if missing := wanted.keys() & MISSING:
        pytest.fail(f"not installed: {', '.join(missing)}; the dependency group `realapps` has all applications")
    for project in wanted.values():
        project.create()
    try:
        with ThreadPoolExecutor(max_workers=len(wanted)) as pool:
            yield {name: pool.submit(project.travel) for name, project in wanted.items()}
    finally:
        for project in wanted.values():
            project.drop()
