"""The guide's routes work as written: its settings, the commands of its second step, and its ways back.

The aliases of the guide stand for those of the test servers.
"""

import re
import shlex
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import pytest

from migrator.transitions.phases import Phase
from settings.base import ROOT
from tests.management.running import run
from tests.sessions.transition.pairs import REDIS, SQLITE, Named, Site, site_of

OLD, DUAL_OLD, DUAL_NEW, NEW = Phase
GUIDE = (ROOT / "docs/howto/change-session-store-live.md").read_text(encoding="utf-8")
CACHES = {"default": "redis", "sessions": "redis_other"}
PREFIXED = {"default": "redis_other", "sessions": "redis_prefixed"}  # one server, as the guide has it for cached_db
DATABASES = {"default": "sqlite_a", "sessions": "sqlite_b"}


class Route:
    """One of the guide's routes: its sides and its commands, with the aliases of the test servers."""

    def __init__(self, section: str) -> None:
        settings = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0]
        read: dict[str, Any] = {"DATABASES": {}}
        exec(settings, read)  # noqa: S102
        sides = read["MIGRATOR"]["SESSIONS"]
        self.caches = PREFIXED if "KEY_PREFIX" in settings else CACHES
        self.old, self.new = (self._named(sides[name]) for name in ("OLD", "NEW"))
        lines = "\n".join(re.findall(r"```console\n(.*?)```", section, re.DOTALL)).splitlines()
        self.commands = [
            self._words(line) for line in lines if line.startswith("$ python manage.py") and "migrate" not in line
        ]

    def _named(self, side: dict[str, str]) -> Named:
        engine, app = side["ENGINE"], None
        if engine.startswith("user_sessions"):
            app, side = "user_sessions", {**side, "DATABASE": "default"}
        given = {"ENGINE": engine}
        if "DATABASE" in side:
            given["DATABASE"] = self._database(app, side["DATABASE"])
        if "CACHE" in side:
            given["CACHE"] = self.caches[side["CACHE"]]
        return Named(" ".join(given.values()), given, app)

    def _database(self, app: str | None, alias: str) -> str:
        return "default" if app else DATABASES[alias]

    def _words(self, line: str) -> list[str]:
        """Return the words of a command; --source and --dest are caches or databases by its name."""
        command, *words = shlex.split(line)[3:]
        kinds = dict(zip(("--source", "--dest"), re.findall(r"cache|db", command), strict=False))
        for place, (option, value) in enumerate(pairwise(words), 1):
            if option in ("--source", "--dest"):
                kind, _, alias = value.rpartition(":")
                words[place] = self._alias(kind, alias) if kind else self._alias(kinds[option], alias).split(":")[1]
        return [command, *words]

    def _alias(self, kind: str, alias: str) -> str:
        found = self.caches[alias] if kind == "cache" else self._database(self.old.app, alias)
        return f"{kind}:{found}"


def routes() -> Iterator[Any]:
    text = GUIDE[GUIDE.index("\n## Routes") : GUIDE.index("\n## Begin with some")]
    for section in text.split("\n### ")[1:]:
        route = Route(section)
        app = route.old.app or "sessions"
        needed = pytest.mark.skipif(
            app != "sessions" and find_spec(app) is None, reason=f"needs django-{app.replace('_', '-')}"
        )
        yield pytest.param(route, id=section.partition("\n")[0].replace("`", ""), marks=needed)


ROUTES = list(routes())
pytestmark = pytest.mark.redis


def logged_in(site: Site, number: int) -> str:
    session = site.session()
    session["n"] = number
    session.create()
    session["n"] = number
    session.save()
    return str(session.session_key)


def loaded(site: Site, keys: list[str]) -> list[Any]:
    return [site.session(key).get("n") for key in keys]


def change(site: Site, route: Route) -> list[str]:
    """Go through all phases; return the keys of the sessions, which are numbered."""
    keys = [logged_in(site, number) for number in range(3)]
    site.phase = DUAL_OLD
    session = site.session(keys[0])
    session["n"] = 0
    session.save()
    keys.append(logged_in(site, 3))
    for command, *words in route.commands:
        ended = run(command, *words, *(["--no-input"] if command.startswith("copy") else []))
        assert ended.code == 0, ended
    for phase in (DUAL_NEW, NEW):
        site.phase = phase
        assert loaded(site, keys) == [0, 1, 2, 3]
    assert [site.data("new", key)["n"] for key in keys] == [0, 1, 2, 3]
    return keys


def test_there_are_routes_with_commands() -> None:
    assert len(ROUTES) == 6
    assert [param.values[0].commands[-1][0] for param in ROUTES] == ["verify_sessions"] * 6


@pytest.mark.parametrize("route", ROUTES)
def test_a_route_and_its_way_back_log_nobody_out_and_nobody_in(route: Route, fresh: Callable[..., None]) -> None:
    with site_of(route.old, route.new, fresh=fresh) as site:
        keys = change(site, route)
        ended = keys.pop()
        site.session(ended).flush()
        keys.append(logged_in(site, 3))  # which OLD does not get
        ends = [f"{side.end.kind}:{side.end.alias}" for side in (site.change.new, site.change.old)]

        site.phase = DUAL_NEW
        assert run("clear_old_sessions", "--side", "old", "--clear", ends[1], "--no-input").code == 0
        name = "copy_sessions_{}_to_{}".format(*(end.partition(":")[0] for end in ends))
        source, dest = (end.partition(":")[2] for end in ends)
        engine = ["--dest-engine", site.change.old.setting.ENGINE]
        assert run(name, "--source", source, "--dest", dest, *engine, "--overwrite-older", "--no-input").code == 0

        for phase in (DUAL_OLD, OLD):
            site.phase = phase
            assert loaded(site, [*keys, ended]) == [0, 1, 2, 3, None]


def test_without_a_copy_nothing_is_stale_if_new_is_emptied_first(fresh: Callable[..., None]) -> None:
    with site_of(REDIS, SQLITE, fresh=fresh) as site:
        key = logged_in(site, 0)
        for phase, number in ((DUAL_OLD, 1), (OLD, 2)):  # a worker with the new setting, and one without it yet
            session = site.session(key, phase)
            session["n"] = number
            session.save()
        assert site.data("new", key)["n"] == 1

        site.phase = DUAL_OLD
        assert run("clear_old_sessions", "--side", "new", "--clear", "db:sqlite_a", "--no-input").code == 0
        site.phase = DUAL_NEW
        assert loaded(site, [key]) == [2]
