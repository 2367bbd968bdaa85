"""Build the distributions into dist/, check them, and use the wheel in a fresh project."""

import sys
import tempfile
from pathlib import Path

from tests.package.artifacts import build, check_files, check_metadata, check_page
from tests.package.project import Project
from tests.package.steps import StepError, step


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="migrator-package-") as name:
        try:
            _check(Path(name).resolve())
        except StepError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


def _check(directory: Path) -> None:
    with step("Build the source distribution, and the wheel from it"):
        wheel, source = build()
    with step("Check their metadata, files and links"):
        check_metadata(wheel, source)
        check_files(wheel, source)
        check_page(wheel, directory)
    project, version = Project(directory), wheel.name.split("-")[1]
    with step("Install the wheel into an empty virtual environment"):
        project.install(wheel)
    with step("Create a project with two databases"):
        project.create()
    with step("Move its rows, compare them, and find a difference"):
        project.print_version(version)
        project.move()
        project.find_a_difference(version)
    print(f"{wheel.name} and {source.name} are good, in dist/.")


if __name__ == "__main__":
    sys.exit(main())
