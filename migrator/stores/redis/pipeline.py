"""Many Redis commands in one round trip, on the connections of the cache's own client.

The commands of a page are packed into one buffer, and the replies are read from the connection in large pieces, which
is many times as fast as the client's pipelines. A cluster, whose keys are on several servers, uses its client's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from itertools import islice
from typing import Any, TypeVar

from ...clock import MICROSECONDS_PER_SECOND
from .replies import Answers, Malformed

Command = tuple[bytes, ...]
_CURSOR = re.compile(rb"[0-9]{1,20}")  # 64 bits without a sign
# What clients raise if they do not understand the replies at the beginning of a connection.
_CONFUSED = (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError)
Found = TypeVar("Found")
# By the number of parts; no command here has more.
_TEMPLATES = [b"*%d\r\n" % count + b"$%d\r\n%b\r\n" * count for count in range(12)]


def packed(command: Command) -> bytes:
    """Return a command in the protocol of the server (RESP)."""
    sized: list[Any] = []
    for part in command:
        sized += (len(part), part)
    return _TEMPLATES[len(command)] % tuple(sized)


def packed_for_each(verbs: Sequence[bytes], keys: Sequence[bytes]) -> bytes:
    """Return the commands that send each of ``verbs`` for each key."""
    template = b"".join([b"*2\r\n$%d\r\n%b\r\n$%%d\r\n%%b\r\n" % (len(verb), verb) for verb in verbs])
    if len(verbs) == 1:
        return b"".join([template % (len(key), key) for key in keys])
    times = len(verbs)
    return b"".join([template % ((len(key), key) * times) for key in keys])


class Runner:
    """Runs commands on one server. An error reply is returned as an exception.

    A connection that the server closed while it was idle is opened again, once. All commands may then be sent twice;
    ``repeated`` says whether that has happened.
    """

    repeated = False

    def __init__(self, client: Any) -> None:
        self._pool = client.connection_pool
        library = import_module(f"{type(client).__module__.partition('.')[0]}.exceptions")
        self._response_error: type[Exception] = library.ResponseError
        self._connection_error: type[Exception] = library.ConnectionError
        self._timeout_error: type[Exception] = library.TimeoutError
        self._invalid_response: type[Exception] = library.InvalidResponse

    def scan(self, pattern: bytes, size: int) -> Iterator[list[bytes]]:
        """Yield the keys that match, about ``size`` at a time; a key may come repeatedly."""
        cursor, page = b"0", list[bytes]()
        seen: set[bytes] = set()
        while True:
            (answer,) = self.run([(b"SCAN", cursor, b"MATCH", pattern, b"COUNT", b"%d" % max(size, 1000))])
            cursor, more = self._listed(answer)
            if cursor in seen:  # a scan visits the server's buckets once, even if their number changes
                raise self._invalid_response(str(Malformed()))
            seen.add(cursor)
            page += more
            while len(page) >= size or (page and cursor == b"0"):
                yield page[:size]
                page = page[size:]
            if cursor == b"0":
                return

    def _listed(self, answer: Any) -> tuple[bytes, list[bytes]]:
        """Return the cursor and the keys in a reply to SCAN."""
        if isinstance(answer, Exception):
            raise answer
        match answer:
            case [bytes() as cursor, list() as keys] if _CURSOR.fullmatch(cursor) and {bytes}.issuperset(
                map(type, keys)
            ):
                return cursor, keys
        raise self._invalid_response(str(Malformed()))

    def run(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands; return the replies in their order."""
        if not commands:
            return []
        return self._sent(b"".join(map(packed, commands)), lambda answers: answers.read(len(commands)))

    def time(self) -> int | None:
        """Return the time by the server's clock in microseconds of Unix time; None if it does not report it."""
        match self.run([(b"TIME",)]):
            case [[bytes() as seconds, bytes() as microseconds]]:
                return int(seconds) * MICROSECONDS_PER_SECOND + int(microseconds)
        return None

    def ask(self, verbs: Sequence[bytes], keys: Sequence[bytes]) -> list[Any]:
        """Send each of ``verbs`` for each key; return the replies key by key."""
        count = len(verbs) * len(keys)
        return self._sent(packed_for_each(verbs, keys), lambda answers: answers.read(count)) if keys else []

    def answers_are(self, verbs: Sequence[bytes], keys: Sequence[bytes], expected: bytes) -> bool:
        """Whether the server replies to :meth:`ask` with exactly these bytes."""
        count = len(verbs) * len(keys)

        def compare(answers: Answers) -> bool:
            same = answers.are(expected)
            if not same:
                answers.read(count)  # so that the connection can be reused
            return same

        return self._sent(packed_for_each(verbs, keys), compare)

    def _sent(self, buffer: bytes, read: Callable[[Answers], Found]) -> Found:
        try:
            return self._attempt(buffer, read)
        except self._connection_error:
            self.repeated = True
            return self._attempt(buffer, read)

    def _attempt(self, buffer: bytes, read: Callable[[Answers], Found]) -> Found:
        connection = self._connect()  # the pool returns none with unread replies
        try:
            connection.send_packed_command([buffer])
            return read(Answers(connection._sock.recv, self._error_maker(connection)))
        except Malformed as error:
            connection.disconnect()
            raise self._invalid_response(str(error)) from error
        except TimeoutError as error:
            connection.disconnect()
            raise self._timeout_error(f"The server did not answer in time ({error})") from error
        except OSError as error:
            connection.disconnect()
            raise self._connection_error(f"The connection was lost ({error})") from error
        except BaseException:
            connection.disconnect()  # our replies may still arrive on it
            raise
        finally:
            self._pool.release(connection)

    def _error_maker(self, connection: Any) -> Callable[[str], Exception]:
        def error_of(text: str) -> Exception:
            error: Exception = connection._parser.parse_error(text)
            if not isinstance(error, self._response_error):
                raise error  # the server rejects every command now, for example while it loads its data
            return error

        return error_of

    def _connect(self) -> Any:
        try:
            try:
                return self._pool.get_connection()
            except TypeError:  # clients before redis-py 5.3 require the command's name
                return self._pool.get_connection("GET")
        except _CONFUSED as error:
            raise self._invalid_response(str(Malformed())) from error


class ClusterRunner:
    """Runs commands through the pipelines of a cluster client, which knows the server of each key."""

    repeated = False

    def __init__(self, client: Any) -> None:
        self._client = client

    def scan(self, pattern: bytes, size: int) -> Iterator[list[bytes]]:
        """Yield the keys that match, about ``size`` at a time; a key may come repeatedly."""
        found = iter(self._client.scan_iter(match=pattern, count=max(size, 1000)))
        while page := list(islice(found, size)):
            yield [key if isinstance(key, bytes) else key.encode("utf-8", "surrogateescape") for key in page]

    def run(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands; return the replies in their order."""
        if commands and commands[0][0] == b"EVAL":  # which cluster pipelines do not support
            return [self._client.eval(script, int(keys), *rest) for _, script, keys, *rest in commands]
        pipeline = self._client.pipeline()
        for verb, *rest in commands:
            pipeline.execute_command(verb.decode(), *rest)
        found: list[Any] = pipeline.execute(raise_on_error=False)
        return found

    def time(self) -> int | None:
        """Return the earliest time by the clocks of all primaries, so that no time left is added to a later one."""
        times = [self._client.time(target_nodes=node) for node in self._client.get_primaries()]
        return min(int(seconds) * MICROSECONDS_PER_SECOND + int(microseconds) for seconds, microseconds in times)

    def ask(self, verbs: Sequence[bytes], keys: Sequence[bytes]) -> list[Any]:
        """Send each of ``verbs`` for each key; return the replies key by key."""
        return self.run([(verb, key) for key in keys for verb in verbs])

    def answers_are(self, verbs: Sequence[bytes], keys: Sequence[bytes], expected: bytes) -> bool:
        """Return False, which allows no quick answer: the bytes come from several servers."""
        return False


Server = Runner | ClusterRunner


def runner(client: Any) -> Server:
    """Return the runner for the server or servers of ``client``."""
    return ClusterRunner(client) if hasattr(client, "get_primaries") else Runner(client)
