"""Two workers whose steps on the stores are put in every order that can make a difference."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

from django.core.cache.backends.redis import RedisCache

from migrator.sessions.transition import follower
from migrator.stores.redis.store import RedisStore
from migrator.transitions.phases import Phase

Operation = Callable[[], Any]
# What is one step on a server. The engines use the cache, the places the store.
STEPS: list[tuple[Any, tuple[str, ...]]] = [
    (RedisStore, ("fetch", "present", "add", "update", "replace", "discard")),
    (RedisCache, ("get", "add", "set", "delete", "has_key")),
]
READS = {"fetch", "present", "get", "has_key"}
WAITS_AT_MOST = 20.0
_here = threading.local()


class Step(NamedTuple):
    """What a worker does next: a call to a store, at an address."""

    address: str
    is_read: bool

    def commutes_with(self, other: "Step") -> bool:
        """Whether it makes no difference which of both steps comes first."""
        return self.address != other.address or (self.is_read and other.is_read)


class Worker:
    """A worker in a phase, on a thread of its own; in a race it stops before each step until it is let go."""

    def __init__(self, phase: Phase) -> None:
        self.phase = phase
        self.is_done, self.gives_way = True, False
        self.step: Step | None = None  # none while it gives way
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._may_go, self._has_stopped = threading.Semaphore(0), threading.Semaphore(0)
        self.outcome: Any = None

    def run(self, operation: Operation) -> Any:
        """Do something that is no part of a race."""

        def work() -> Any:
            _here.worker, _here.is_racing = self, False
            return operation()

        return self._thread.submit(work).result(WAITS_AT_MOST)

    def begin(self, operation: Operation) -> None:
        """Run to the first step."""

        def work() -> None:
            _here.worker, _here.is_racing = self, True
            try:
                self.outcome = operation()
            except Exception as error:
                self.outcome = error
            self.is_done = True
            self._has_stopped.release()

        self.is_done = self.gives_way = False
        self._thread.submit(work)
        self._wait()

    def go(self) -> None:
        """Do one step, and what comes until the next."""
        self.step, self.gives_way = None, False
        self._may_go.release()
        self._wait()

    def stop(self, step: Step | None) -> None:
        self.step, self.gives_way = step, step is None
        self._has_stopped.release()
        assert self._may_go.acquire(timeout=WAITS_AT_MOST)

    def _wait(self) -> None:
        assert self._has_stopped.acquire(timeout=WAITS_AT_MOST)

    def close(self) -> None:
        self._thread.shutdown()


def phase_here() -> Phase:
    """Return the phase of the worker whose thread this is, `old` elsewhere."""
    worker: Worker | None = getattr(_here, "worker", None)
    return Phase.OLD if worker is None else worker.phase


@contextmanager
def steps() -> Iterator[None]:
    """Have workers in a race stop before each step, and give way where they pause."""

    def stop(step: Step | None) -> None:
        if getattr(_here, "is_racing", False):
            _here.worker.stop(step)

    def stopping(name: str, method: Any) -> Any:
        def step(store: Any, *args: Any, **kwargs: Any) -> Any:
            cache = store if isinstance(store, RedisCache) else store.cache
            stop(Step(cache._servers[0], name in READS))
            return method(store, *args, **kwargs)

        return step

    with ExitStack() as stack:
        for owner, names in STEPS:
            for name in names:
                stack.enter_context(patch.object(owner, name, stopping(name, getattr(owner, name))))
        stack.enter_context(patch.object(follower, "pause", lambda: stop(None)))
        yield


def every_order(workers: tuple[Worker, Worker], begin: Callable[[], tuple[Operation, Operation]]) -> Iterator[str]:
    """Run two operations in every order of their steps; after each, give the order as digits.

    Orders that differ in neighbours that commute have the same result, so that few of them are run: a worker "sleeps"
    while only steps are taken that its next one commutes with, if it has gone first already (sleep sets: Godefroid,
    "Partial-Order Methods for the Verification of Concurrent Systems").

    ``begin`` puts the stores into their first state, and returns the operations.
    """
    choices: list[tuple[int, int]] = []  # what was chosen of how many
    while True:
        taken = _run(workers, begin(), [chosen for chosen, _ in choices])
        yield "".join(str(worker) for worker, _, _ in taken)
        choices = [(chosen, count) for _, chosen, count in taken]
        while choices and choices[-1][0] + 1 >= choices[-1][1]:
            choices.pop()
        if not choices:
            return
        choices[-1] = (choices[-1][0] + 1, choices[-1][1])


def _run(
    workers: tuple[Worker, Worker], operations: tuple[Operation, Operation], choices: list[int]
) -> list[tuple[int, int, int]]:
    """Follow the choices, then let the first go first; return for each step who went, and what of how many it was."""
    for worker, operation in zip(workers, operations, strict=True):
        worker.begin(operation)
    taken: list[tuple[int, int, int]] = []
    asleep: list[int] = []
    is_known = False  # an order with the same result has been run
    while alive := [number for number, worker in enumerate(workers) if not worker.is_done]:
        ready = [number for number in alive if not workers[number].gives_way] or alive
        awake = [number for number in ready if number not in asleep]
        is_known = is_known or not awake
        if is_known:
            awake = ready[:1]
        choice = choices[len(taken)] if len(taken) < len(choices) else 0
        chosen = awake[choice]
        step = workers[chosen].step
        asleep = [number for number in {*asleep, *awake[:choice]} - {chosen} if _commute(workers[number].step, step)]
        workers[chosen].go()
        taken.append((chosen, choice, len(awake)))
    return taken


def _commute(one: Step | None, other: Step | None) -> bool:
    return one is not None and other is not None and one.commutes_with(other)
