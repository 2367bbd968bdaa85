"""Two workers at one session, in one phase or one apart as during a deploy, in every order of their steps."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from django.contrib.sessions.backends.base import UpdateError
from django.core.cache import caches

from migrator.transitions.phases import Phase
from tests.sessions.places import new_key
from tests.sessions.transition.interleaving import Operation, Worker, every_order, phase_here, steps
from tests.sessions.transition.pairs import REDIS, REDIS_OTHER, Site, site_of

pytestmark = pytest.mark.redis
SIDE_BY_SIDE = [(one, other) for one in Phase for other in Phase if other in (one, one.following)]
NAMES = ("save", "load", "end", "cycle_key")


def is_tried(names: tuple[str, str], phases: tuple[Phase, Phase], copied: bool) -> bool:
    """Leave out what has a thousand orders and is tried in parts: a change of key is an insert and an end."""
    if phases[0] is phases[1] and NAMES.index(names[0]) > NAMES.index(names[1]):
        return False  # the same the other way round
    if not copied:
        return "cycle_key" not in names and names != ("save", "save")
    if names.count("cycle_key") == 2:
        return False
    return set(names) != {"save", "cycle_key"} or phases in (
        (Phase.OLD, Phase.DUAL_OLD),
        (Phase.DUAL_OLD, Phase.DUAL_NEW),
    )


class Race:
    """The operations of two workers on one session, and what became of it."""

    def __init__(self, site: Site, workers: tuple[Worker, Worker]) -> None:
        self.site, self.workers = site, workers
        self.key = ""

    def begin(self, names: tuple[str, str], *, copied: bool) -> tuple[Operation, Operation]:
        self.key = new_key()
        for side in (self.site.change.old, self.site.change.new) if copied else (self.site.change.old,):
            engine = side.instance(self.key, None, None)
            engine._session_cache = {"saved": "before"}
            assert side.insert(engine)
        known = {"save": self.save, "load": self.load, "end": self.end, "cycle_key": self.cycle}
        first, second = known[names[0]], known[names[1]]
        return lambda: first("first"), lambda: second("second")

    def save(self, who: str) -> str:
        session = self.site.session(self.key)
        session["saved"] = who
        if session.session_key is None:
            return "it had ended"
        session.save()
        return who

    def load(self, who: str) -> Any:
        return self.site.session(self.key).get("saved")

    def end(self, who: str) -> None:
        self.site.session(self.key).flush()

    def cycle(self, who: str) -> Any:
        session = self.site.session(self.key)
        session.cycle_key()
        return session.session_key

    def held(self) -> list[Any]:
        """Return what OLD and NEW hold at the end."""
        return [found and found.get("saved") for found in self.site.both(self.key)]


@pytest.fixture
def site(fresh: Callable[..., None]) -> Iterator[Site]:
    with site_of(REDIS, REDIS_OTHER, fresh=fresh) as site:
        site.phase = phase_here
        yield site


def check(race: Race, names: tuple[str, str], phases: tuple[Phase, Phase], order: str) -> None:
    """Assert that nothing was lost, is stale, or has come back."""
    held = race.held()
    outcomes = [worker.outcome for worker in race.workers]
    story = f"{names} in {phases}, order {order}: OLD and NEW hold {held}, the workers say {outcomes}"
    for outcome in outcomes:
        assert not isinstance(outcome, Exception) or isinstance(outcome, UpdateError), story
    if {"end", "cycle_key"} & set(names):
        assert held == [None, None], f"came back: {story}"
        return
    saved = [outcome for name, outcome in zip(names, outcomes, strict=True) if name == "save"]
    assert not any(isinstance(outcome, UpdateError) for outcome in outcomes), f"refused: {story}"
    expected = saved or ["before"]
    authorities = {1 if phase.new_decides else 0 for phase in phases}
    assert all(held[side] in expected for side in authorities), f"lost: {story}"
    if all(phase.is_dual for phase in phases) and saved:
        assert held[0] == held[1], f"apart: {story}"
    for name, outcome in zip(names, outcomes, strict=True):
        if name == "load":
            assert outcome in ("before", *saved), f"lost to a reader: {story}"


def check_new_keys(race: Race, names: tuple[str, str], phases: tuple[Phase, Phase]) -> None:
    """Assert that a key that was given out is on the side that decides, and on both where both are kept."""
    for name, phase, worker in zip(names, phases, race.workers, strict=True):
        if name == "cycle_key" and isinstance(worker.outcome, str):
            found = [data is not None for data in race.site.both(worker.outcome)]
            assert found == ([True, True] if phase.is_dual else [not phase.new_decides, phase.new_decides])


@pytest.mark.parametrize("copied", [True, False], ids=["copied", "only-in-old"])
@pytest.mark.parametrize("phases", SIDE_BY_SIDE, ids="-".join)
def test_nothing_is_lost_stale_or_back(site: Site, phases: tuple[Phase, Phase], copied: bool) -> None:
    if not copied and Phase.NEW in phases:
        pytest.skip("a session that is only in OLD is over once NEW alone is asked")
    workers = (Worker(phases[0]), Worker(phases[1]))
    with closing(workers[0]), closing(workers[1]), steps():
        race = Race(site, workers)
        for names in [(one, other) for one in NAMES for other in NAMES]:
            if not is_tried(names, phases, copied):
                continue
            orders = 0
            for order in every_order(workers, lambda names=names: race.begin(names, copied=copied)):
                check(race, names, phases, order)
                check_new_keys(race, names, phases)
                orders += 1
            assert orders > 1
        for worker in workers:
            worker.run(site.change.close)
            worker.run(caches.close_all)
