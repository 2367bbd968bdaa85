"""A fresh project with the installed wheel, and a move from one of its databases to another."""

import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from tests.package.steps import call, expect

USERS = 2_000
ENDS = ("--source", "default", "--dest", "new")

_SETTINGS = """
INSTALLED_APPS += ["migrator"]
DATABASES["new"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "new.sqlite3"}
"""
_FILL = f"""
from django.contrib.auth.models import Group, User
group = Group.objects.create(name="Käufer")
users = User.objects.bulk_create(User(username=f"user{{n}}", email="ä@example.org") for n in range({USERS}))
group.user_set.set(users)
"""


class Project:
    """A project that was created by django-admin, in a virtual environment with nothing but the wheel."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "shop"
        self.programs = directory / "environment" / "bin"
        # Nothing of the checkout may be importable, and nothing of the caller's settings may be used.
        self._env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DJANGO_"))}

    def install(self, wheel: Path) -> None:
        """Create the virtual environment, even without pip, and install the wheel and what it requires."""
        place = self.directory.parent
        call(sys.executable, "-m", "venv", "--without-pip", self.programs.parent, cwd=place, env=self._env)
        pip = (sys.executable, "-m", "pip", "--python", self.programs / "python")
        call(*pip, "install", "--quiet", wheel, cwd=place, env=self._env)
        call(*pip, "check", cwd=place, env=self._env)
        imported = self._python("-c", "import migrator; print(migrator.__file__)").strip()
        expect(Path(imported).is_relative_to(self.programs.parent), f"migrator was imported from {imported}")

    def create(self) -> None:
        """Create the project with a second database, and fill the first one."""
        self.directory.mkdir()
        call(self.programs / "django-admin", "startproject", "shop", ".", cwd=self.directory, env=self._env)
        with (self.directory / "shop" / "settings.py").open("a") as settings:
            settings.write(_SETTINGS)
        self.manage("migrate", "--verbosity", "0")
        self.manage("shell", "--command", _FILL)
        self.manage("check")

    def move(self) -> None:
        """Move the rows, and compare both databases without migrator and with it."""
        self.manage("batch_migrate", *ENDS, "--migrate", "--no-input", "--report", "move.html")
        page = (self.directory / "move.html").read_text(encoding="utf-8")
        expect("<strong>DONE</strong>" in page, "the report's page has no verdict")
        moved, filled = self._rows("new.sqlite3"), self._rows("db.sqlite3")
        expect(moved["auth_user"] == moved["auth_user_groups"] == USERS, f"not all users were moved: {moved}")
        expect(moved == filled, f"the destination has {moved}, and the source {filled}")
        self.manage("verify_counts", *ENDS, "--mode", "full")

    def find_a_difference(self, version: str) -> None:
        """Change one value, which the comparison has to find."""
        with closing(sqlite3.connect(self.directory / "new.sqlite3")) as database, database:
            database.execute("UPDATE auth_user SET email = 'other' WHERE username = 'user7'")
        verify = ("verify_counts", *ENDS, "--mode", "full", "--format", "json", "--verbosity", "0")
        printed = self.manage(*verify, code=3)
        document = json.loads(printed[: printed.rindex("}") + 1])
        (user,) = (model for model in document["models"] if model["label"] == "auth.User")
        expect(user["changed"] == 1, f"one value differs, and this was found: {user}")
        expect(document["migrator_version"] == version, f"the document names {document['migrator_version']}")

    def print_version(self, version: str) -> None:
        """Check the release that a command prints."""
        printed = self.manage("batch_migrate", "--version")
        expect(printed.startswith(f"migrator {version}, Django "), f"batch_migrate --version printed {printed!r}")

    def manage(self, *words: str, code: int = 0) -> str:
        """Run a management command and return its output."""
        return self._python("manage.py", *words, code=code, cwd=self.directory)

    def _python(self, *words: str, code: int = 0, cwd: Path | None = None) -> str:
        return call(self.programs / "python", *words, cwd=cwd or self.directory.parent, env=self._env, code=code)

    def _rows(self, file: str) -> dict[str, int]:
        """Return the number of rows in each table of a SQLite file."""
        with closing(sqlite3.connect(self.directory / file)) as database:
            names = [name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            return {name: database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in sorted(names)}
