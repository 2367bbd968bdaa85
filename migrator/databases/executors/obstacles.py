"""Why workers on other hosts cannot copy chunks of a run, and what people should know before they do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from ...console.wording import plural
from ...processes.workers import can_fork
from ..endpoints import Endpoints
from ..engines.base.engine import Engine
from ..findings import Finding
from .brokers import Broker, NotSent

INSTEAD = "Use --jobs in place of --executor: its processes run on this host."


def worker_findings(endpoints: Endpoints, broker: Broker) -> Iterator[Finding]:
    """Yield what the checks of a plan find about the workers of an executor."""
    source, dest = endpoints.source, endpoints.dest
    features = source.features
    if not (features.has_named_snapshots or features.begins_snapshots_with_others):
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


def described(name: str, broker: Broker, source: Engine) -> str:
    """Describe for people the workers that an executor has now."""
    workers = f"those of executor {name!r} take part"
    if source.enlisted is not None:
        return f"{workers}: {plural(source.enlisted, 'process', 'processes')} began the same snapshot"
    processes = None
    with suppress(NotSent):
        processes = broker.processes()
    answered = "" if processes is None else f" ({plural(processes, 'process', 'processes')} answered)"
    if source.features.begins_snapshots_with_others:
        return f"{workers}{answered}, if they begin the snapshot together with the run"
    return f"{workers}{answered}, from the same snapshot"


def _about_their_number(endpoints: Endpoints, broker: Broker) -> Iterator[Finding]:
    source = endpoints.source
    try:
        processes = broker.processes()
    except NotSent as error:
        yield Finding("executor", f"its broker does not answer ({error})", broker.advice, stops=False)
        return
    if processes == 0:
        yield Finding("executor", "no worker answers", broker.advice, stops=False)
        return
    if source.enlisted is not None and source.enlisted < (processes or 1):
        yield _too_few_enlisted(source, source.enlisted, processes)
    for engine in (source, endpoints.dest):
        free = engine.free_sessions()
        if processes and free is not None and free < processes and engine.enlisted is None:
            answering = plural(processes, "worker process", "worker processes")
            text = f"it accepts {plural(free, 'more session')}, and {answering} answered"
            yield Finding(engine.alias, text, "The others cannot take part. Raise max_connections.", stops=False)


def _too_few_enlisted(source: Engine, enlisted: int, processes: int | None) -> Finding:
    """Return the finding that fewer workers read the snapshot than could, and that no more will."""
    those = f"{enlisted:,} of {plural(processes, 'worker process', 'worker processes')}" if processes else "no worker"
    reason = f": {source.readers_note}" if source.readers_note and not enlisted else ""
    text = f"{those} began its snapshot together with the command, and none can join it later{reason}"
    advice = "Workers need to have nothing else to do when the command begins, and --prefetch-multiplier 1 with Celery."
    return Finding(source.alias, text, advice, stops=False)
