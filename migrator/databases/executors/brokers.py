"""How a message reaches workers on other hosts: by Celery, or by any executor of ``concurrent.futures``."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Protocol

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from ...conf import Settings, WorkerExecutor, executor_from
from ...console.suggestions import did_you_mean
from ...console.wording import shortened
from ...errors import MigratorError, UsageError
from .messages import Message
from .worker import carry_out

TASK = "migrator.carry_out"
ANSWER_SECONDS = 5.0  # that workers have to answer in
ASK_SECONDS = 0.5


class NotSent(MigratorError):
    """A message was not sent. The reason has no address and no password, which the broker's own error may have."""


class Broker(Protocol):
    """Sends messages, of which each reaches one worker, none, or several."""

    # The token of the command, which distinguishes its messages from those of any other.
    run: str
    # How to start a worker, for people.
    advice: str

    def send(self, message: Message) -> None:
        """Send a message. Raises :exc:`NotSent`."""

    def processes(self) -> int | None:
        """Return how many worker processes answer; ``None`` if that cannot be known."""

    def close(self) -> None:
        """Release what sending needs."""


class CeleryBroker:
    """Sends messages to one queue of a Celery app, whose workers have the task of :mod:`migrator.tasks`.

    Its connections are not those of the app's pools. In each process that is forked, these are closed, and for that
    they may wait for a reply that this process has read already (``kombu/resource.py``, ``kombu/transport/redis.py``).
    """

    def __init__(self, app: Any, path: str, queue: str) -> None:
        self.run = secrets.token_hex(16)
        self._app, self._queue = app, queue
        self._connection: Any = None
        self._processes: int | None = None
        # Celery gives each process four messages in advance, which other workers then wait for.
        self.advice = f"Start one: celery -A {path.rpartition('.')[0]} worker -Q {queue} --prefetch-multiplier 1"

    def send(self, message: Message) -> None:
        """Send a message. Raises :exc:`NotSent`."""
        with _without_addresses():
            if self._connection is None:
                self._connection = self._app.connection_for_write()
            self._app.send_task(
                TASK,
                args=[message.document()],
                queue=self._queue,
                serializer="json",
                ignore_result=True,
                producer=self._app.amqp.Producer(self._connection),
            )

    def processes(self) -> int | None:
        """Return how many processes of the workers that read the queue have answered, which are asked once."""
        if self._processes is None:
            self._processes = self._ask()
        return self._processes

    def _ask(self) -> int:
        deadline = time.monotonic() + ANSWER_SECONDS
        with _without_addresses(), self._app.connection_for_write() as connection:
            control = type(self._app.control)(self._app)
            control.mailbox.producer_pool = None
            ask = partial(control.broadcast, reply=True, connection=connection)
            while True:
                queues = _answers(ask("active_queues", timeout=ASK_SECONDS))
                readers = [name for name, read in queues.items() if any(one["name"] == self._queue for one in read)]
                if readers:
                    # It returns as soon as all have answered.
                    stats = _answers(ask("stats", timeout=ANSWER_SECONDS, destination=readers, limit=len(readers)))
                    return sum(int(stats.get(name, {}).get("pool", {}).get("max-concurrency", 1)) for name in readers)
                if time.monotonic() > deadline:
                    return 0

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            with suppress(NotSent), _without_addresses():
                self._connection.release()


class FuturesBroker:
    """Submits messages to an executor of ``concurrent.futures``."""

    advice = "Start workers of it"

    def __init__(self, executor: Executor) -> None:
        self.run = secrets.token_hex(16)
        self._executor = executor

    def send(self, message: Message) -> None:
        """Send a message. Raises :exc:`NotSent`."""
        with _without_addresses():
            self._executor.submit(carry_out, message.document())

    def processes(self) -> int | None:
        """Return ``None``: executors do not say."""
        return None

    def close(self) -> None:
        """Shut the executor down; messages that it delivers later have no effect."""
        self._executor.shutdown(wait=False)


def open_broker(name: str, settings: Settings) -> Broker:
    """Return the broker of an executor of ``MIGRATOR["EXECUTORS"]``.

    Raises :exc:`UsageError` for an unknown name, and for a setting that is wrong or leads nowhere.
    """
    executors = settings.EXECUTORS or {}
    if name not in executors:
        known = f"It has {shortened(sorted(executors))}." if executors else "It is empty."
        raise UsageError(f"MIGRATOR['EXECUTORS'] has no {name!r}.{did_you_mean(name, executors)} {known}")
    try:
        executor = executor_from(name, executors[name])
    except ImproperlyConfigured as error:
        raise UsageError(str(error)) from None
    return _broker_of(name, executor)


def _broker_of(name: str, executor: WorkerExecutor) -> Broker:
    if executor.APP:
        return CeleryBroker(_imported(name, "APP", executor.APP), executor.APP, executor.QUEUE)
    make: Callable[[], Any] = _imported(name, "EXECUTOR", executor.EXECUTOR or "")
    made = make()
    if not isinstance(made, Executor):
        raise UsageError(f"MIGRATOR['EXECUTORS'][{name!r}]['EXECUTOR'] returns no concurrent.futures.Executor.")
    return FuturesBroker(made)


def _imported(name: str, key: str, path: str) -> Any:
    try:
        return import_string(path)
    except ImportError as error:
        raise UsageError(f"MIGRATOR['EXECUTORS'][{name!r}][{key!r}] cannot be imported: {error}") from None


def _answers(replies: Iterable[Mapping[str, Any]] | None) -> dict[str, Any]:
    """Return the answers of workers by their names."""
    return {name: answer for reply in replies or () for name, answer in reply.items()}


@contextmanager
def _without_addresses() -> Iterator[None]:
    """Raise :exc:`NotSent` for any error: each library has its own, whose text may hold the broker's address."""
    try:
        yield
    except Exception as error:
        raise NotSent(type(error).__name__) from None
