"""Many Redis commands in one round trip, on the connections of the cache's own client.

The commands of a page are packed into one buffer and the answers read one by one from the connection, which is three
times as fast as the client's pipelines; a cluster, whose keys live on several servers, gets its client's pipelines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

Command = tuple[bytes, ...]
# One for each number of parts; no command of ours has more.
_TEMPLATES = [b"*%d\r\n" % count + b"$%d\r\n%b\r\n" * count for count in range(12)]


def packed(command: Command) -> bytes:
    """Spell one command in the protocol of the server."""
    sized: list[Any] = []
    for part in command:
        sized += (len(part), part)
    return _TEMPLATES[len(command)] % tuple(sized)


class Pipe:
    """Runs commands on one server; an answer that is an error comes back as the exception."""

    def __init__(self, client: Any) -> None:
        self._pool = client.connection_pool
        library = import_module(f"{type(client).__module__.partition('.')[0]}.exceptions")
        self._response_error: type[Exception] = library.ResponseError
        self._connection_error: type[Exception] = library.ConnectionError

    def run(self, buffer: bytes, answers: int) -> list[Any]:
        """Send packed commands and read their answers.

        A connection that the server closed while it was idle is opened again, once: all commands sent here may be
        sent twice.
        """
        try:
            return self._attempt(buffer, answers)
        except self._connection_error:
            return self._attempt(buffer, answers)

    def _attempt(self, buffer: bytes, answers: int) -> list[Any]:
        connection = self._connect()
        try:
            connection.send_packed_command([buffer])
            found = []
            read = connection.read_response
            for _ in range(answers):
                try:
                    found.append(read(disable_decoding=True))
                except self._response_error as error:
                    found.append(error)
        except BaseException:
            connection.disconnect()  # answers of ours may still be on their way
            raise
        finally:
            self._pool.release(connection)
        return found

    def _connect(self) -> Any:
        try:
            return self._pool.get_connection()
        except TypeError:  # clients older than redis-py 5.3 want the command's name
            return self._pool.get_connection("GET")


class ClusterPipe:
    """Runs commands through the pipelines of a cluster's client, which knows the server of each key."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def run_commands(self, commands: Sequence[Command]) -> list[Any]:
        if commands and commands[0][0] == b"EVAL":  # which pipelines of clusters do not take
            return [self._client.eval(script, int(keys), *rest) for _, script, keys, *rest in commands]
        pipeline = self._client.pipeline()
        for verb, *rest in commands:
            pipeline.execute_command(verb.decode(), *rest)
        found: list[Any] = pipeline.execute(raise_on_error=False)
        return found


Runner = Callable[[Sequence[Command]], list[Any]]


def runner(client: Any) -> Runner:
    """Return what runs commands on the server or servers of ``client``."""
    if hasattr(client, "get_primaries"):
        return ClusterPipe(client).run_commands
    pipe = Pipe(client)

    def run(commands: Sequence[Command]) -> list[Any]:
        return pipe.run(b"".join(map(packed, commands)), len(commands)) if commands else []

    return run
