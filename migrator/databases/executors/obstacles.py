"""Why workers on other hosts cannot copy chunks of a run, and what people should know before they do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from ...console.wording import plural
from ...processes.workers import can_fork
from ..endpoints import Endpoints
from ..findings import Finding
from .brokers import Broker, NotSent

INSTEAD = "Use --jobs in place of --executor: its processes run on this host."


def worker_findings(endpoints: Endpoints, broker: Broker) -> Iterator[Finding]:
    """Yield what the checks of a plan find about the workers of an executor."""
    source, dest = endpoints.source, endpoints.dest
    if not source.features.has_named_snapshots:
        text = f"no session of another host can read a snapshot of {source.display_name}"
        yield Finding(source.alias, text, INSTEAD)
        return
    if not dest.features.supports_parallel_writers:
        yield Finding(dest.alias, f"{dest.display_name} lets only one session write at a time", INSTEAD)
        return
    if not dest.connection.features.has_select_for_update_skip_locked:
        text = f"{dest.display_name} cannot skip chunks that another worker has locked (SKIP LOCKED)"
        yield Finding(dest.alias, text, f"Upgrade it. {INSTEAD}")
        return
    if not can_fork():
        text = "this system cannot fork, and so cannot have the processes that cut tables into chunks"
        yield Finding("executor", text, "Run the command on Linux, or without --executor.")
        return
    if source.has_renamed_tables:
        text = "tables have other names there, which workers do not know"
        yield Finding(source.alias, text, INSTEAD)
        return
    yield from _about_their_number(endpoints, broker)


def described(name: str, broker: Broker) -> str:
    """Describe for people the workers that an executor has now; more may join until the end of the copy."""
    processes = None
    with suppress(NotSent):
        processes = broker.processes()
    answered = "" if processes is None else f" ({plural(processes, 'process', 'processes')} answered)"
    return f"those of executor {name!r} copy chunks, too{answered}, from the same snapshot"


def _about_their_number(endpoints: Endpoints, broker: Broker) -> Iterator[Finding]:
    try:
        processes = broker.processes()
    except NotSent as error:
        yield Finding("executor", f"its broker does not answer ({error})", broker.advice, stops=False)
        return
    if processes == 0:
        yield Finding("executor", "no worker answers", broker.advice, stops=False)
    if not processes:
        return
    for engine in (endpoints.source, endpoints.dest):
        free = engine.free_sessions()
        if free is not None and free < processes:
            answering = plural(processes, "worker process", "worker processes")
            text = f"it accepts {plural(free, 'more session')}, and {answering} answered"
            yield Finding(engine.alias, text, "The others cannot take part. Raise max_connections.", stops=False)
