"""The journeys of the real projects: all that are asked for side by side, for each is one process after the other."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.scenarios.realapps.project import Journeys, Project

PROJECTS = {
    "wagtail": Project(
        "wagtail",
        visits=["compare", "trees", "go_on", "search"],
        first_visits=["read", "administer"],
        # Its columns differ from engine to engine, and it is built anew from the pages.
        options=["--exclude=wagtailsearch"],
    ),
}


@pytest.fixture(scope="session")
def journeys(request: pytest.FixtureRequest) -> Iterator[Journeys]:
    """Start the journeys of the projects whose tests are to run."""
    modules = {item.path.stem for item in request.session.items if isinstance(item, pytest.Function)}
    wanted = {name: project for name, project in PROJECTS.items() if f"test_{name}" in modules}
    for project in wanted.values():
        project.create()
    try:
        with ThreadPoolExecutor(max_workers=len(wanted)) as pool:
            yield {name: pool.submit(project.travel) for name, project in wanted.items()}
    finally:
        for project in wanted.values():
            project.drop()
