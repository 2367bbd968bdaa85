"""Tutorials of the documentation, followed step by step by a reader who types what they say.

CONTRIBUTING.md has the rules for their blocks. The reader has a terminal of 80 columns, answers yes to each question,
and uses the test servers in place of those that a tutorial names.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import pty
import re
import select
import shlex
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.forking import bare_template

HOME = "/home/you"  # what a tutorial calls the directory in which it begins
LONGEST = 60  # seconds for one command
SKIPPED = re.compile(r"python3? -m venv|(?:source|\.) \S*activate$|(?:python3? -m )?pip install")
# Only a shell can run lines with these.
FOR_SHELL = re.compile(r"[|<>&;$`*]")
NOT_RUN = "<!-- not run -->"
VARIABLE = re.compile(r"[A-Za-z_]\w*=")
EXIT_CODE = re.compile(r"\s+# exit code (\d+)$")
QUESTION = re.compile(r"\[y/N\]\s+$|Type '([^']+)' to\s+continue, anything else to\s+stop:\s+$")
BAR = re.compile(r"^.*\d+%\|.*$", re.MULTILINE)
FENCE = re.compile(r"^( *)```(\S*)(?: .*)?$")
FILE = re.compile(r"# ((?:[\w.-]+/)*[\w-]+\.[a-z]+)\n")
DATABASE = re.compile(r'"ENGINE": "django\.db\.backends\.(postgresql|mysql)",\n(?:.*\n)*?( *)\}')
ENTRY = re.compile(r'^ *"(?:NAME|USER|PASSWORD|HOST|PORT)": .*\n', re.MULTILINE)
REDIS = re.compile(r"redis://127\.0\.0\.1:6379/(\d)")
MEMCACHED = "127.0.0.1:11211"
SECOND = "_new"  # how the name of a tutorial's second database ends
FIRST_REDIS = 10  # lower numbers are those of other tests

# What differs from run to run, and what stands for it in a comparison.
MASKS = (
    (re.compile(r"\x1b\[[0-9;]*[A-Za-z]"), ""),
    (re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?: ?UTC|Z|\+00:00)?)?"), "DATE"),
    (re.compile(r"\b[0-9a-f]{16,}\b"), "DIGEST"),
    (re.compile(r"\b\d+:\d\d:\d\d\b"), "N"),
    (re.compile(r"\b\d+(?:\.\d+)+\b"), "N"),
    (re.compile(r"\bN-MariaDB\S*"), "N"),
    (re.compile(r"[\d,.N]+(?= (?:s|ms|seconds?|minutes?|bytes|[KMG]i?B|(?:rows|sessions|keys)/s|read per)\b)"), "N"),
    (re.compile(r"-{3,}"), "---"),
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and whether it is to be skipped."""

    line: int
    language: str
    text: str
    is_run: bool


def blocks(document: str) -> Iterator[Block]:
    """Yield the fenced blocks of a document in their order."""
    opened: tuple[int, str, str] | None = None
    lines: list[str] = []
    before = ""
    is_run = True
    for number, line in enumerate(document.splitlines(), 1):
        fence = FENCE.match(line)
        if opened is None and fence:
            opened, lines, is_run = (number, fence[1], fence[2]), [], before != NOT_RUN
        elif opened is not None and fence:
            indent = len(opened[1])
            yield Block(opened[0], opened[2], "".join(f"{part[indent:]}\n" for part in lines), is_run)
            opened = None
        elif opened is not None:
            lines.append(line)
        if line.strip():
            before = line.strip()


def commands(block: Block) -> Iterator[tuple[str, int]]:
    """Yield the commands of a console block, continued lines joined, each with its exit code."""
    for line in block.text.replace("\\\n", "").splitlines():
        if not line.startswith("$ "):
            raise AssertionError(f"line {block.line}: a console block holds commands only: {line!r}")
        code = EXIT_CODE.search(line)
        yield EXIT_CODE.sub("", line[2:]), int(code[1]) if code else 0


class Reader:
    """Follows one tutorial in the directory ``home``, with databases of the name ``database`` on the test servers."""

    def __init__(self, home: Path, database: str) -> None:
        self.home = self.directory = home
        self.database = database
        self.said = ""
        self.environment = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "NO_COLOR": "1",
            "COLUMNS": "80",
            "LINES": "24",
        }
        self.names: dict[str, str] = {str(home): HOME}

    def follow(self, document: str) -> None:
        """Do what the document says, and compare what it shows."""
        for block in blocks(document):
            if not block.is_run:
                continue
            if block.language == "console":
                for command, code in commands(block):
                    self.type_in(block.line, command, code)
            elif block.language == "text":
                assert_shown(block.text, self.as_shown(self.said), block.line)
            elif file := FILE.match(block.text):
                self._write(file[1], self._adapted(block.text))

    def _write(self, name: str, text: str) -> None:
        """Create a file of the project, or append to it."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"\n{text}")

    def type_in(self, line: int, command: str, code: int) -> None:
        """Run a command that stands on a line of the document, and keep what it shows; it has to end with ``code``."""
        if SKIPPED.match(command):
            return
        words = [] if FOR_SHELL.search(command) else shlex.split(command)
        variables = dict(word.split("=", 1) for word in itertools.takewhile(VARIABLE.match, words))
        python, *call = words[len(variables) :] or [""]
        if python == "python" and call and call[0].endswith(".py"):
            found, self.said = self._in_fork(call, variables)
        else:
            found, self.said = self._in_shell(command)
        assert found == code, f"line {line}: {command} ended with {found}, not {code}:\n{self.said}"

    def _in_fork(self, call: Sequence[str], variables: Mapping[str, str]) -> tuple[int, str]:
        """Run a script of Python in a process that need not import Django first."""
        ours, terminal = _terminal()
        environment = self.environment | variables
        template = bare_template(environment)
        with template.start_in(self.directory, terminal, *call, environment=environment) as process:
            os.close(terminal)
            said = _converse(ours)
            return process.wait(LONGEST), said

    def _in_shell(self, command: str) -> tuple[int, str]:
        """Run a line of the shell, and keep its directory and its variables."""
        state = self.home / ".state"
        script = f'{command}\ncode=$?; {{ pwd; env -0; }} > "{state}"; exit $code'
        ours, terminal = _terminal()
        with subprocess.Popen(
            ["/bin/bash", "-c", script],
            cwd=self.directory,
            env=self.environment,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        ) as process:
            os.close(terminal)
            said = _converse(ours)
            code = process.wait(LONGEST)
        directory, _, variables = state.read_text().partition("\n")
        self.directory = Path(directory)
        self.environment = dict(part.split("=", 1) for part in variables.split("\0") if "=" in part)
        return code, said

    def _adapted(self, text: str) -> str:
        """Return settings with the test servers in place of the ones that the tutorial names."""
        text = DATABASE.sub(self._with_server, text)
        if address := os.environ.get("MIGRATOR_TEST_REDIS"):
            server = address.rstrip("/")
            self.names[urlsplit(server).netloc.rpartition("@")[2]] = "127.0.0.1:6379"
            text = REDIS.sub(lambda found: f"{server}/{FIRST_REDIS + int(found[1])}", text)
        if address := os.environ.get("MIGRATOR_TEST_MEMCACHED"):
            server = address.removeprefix("memcached://")
            self.names[server] = MEMCACHED
            text = text.replace(MEMCACHED, server)
        return text

    def _with_server(self, found: re.Match[str]) -> str:
        said = dict(re.findall(r'"(NAME|USER|HOST|PORT)": "(.*)"', found[0]))
        name = said.get("NAME", "")
        real = server_of(found[1]) | {"NAME": self.database + (SECOND if name.endswith(SECOND) else "")}
        self.names |= {real["NAME"]: name, f"{real['HOST']}:{real['PORT']}": _address(said)}
        lines = "".join(f"{found[2]}    {name!r}: {value!r},\n" for name, value in real.items())
        return ENTRY.sub("", found[0]).removesuffix(f"{found[2]}}}") + lines + f"{found[2]}}}"

    def as_shown(self, said: str) -> str:
        """Return output with the names that the tutorial uses."""
        for real, name in sorted(self.names.items(), key=lambda item: -len(item[0])):
            said = said.replace(real, name)
        return re.sub(rf"(?<=:6379/){FIRST_REDIS // 10}(?=\d)", "", said)


def _address(said: Mapping[str, str]) -> str:
    return f"{said.get('HOST', '')}:{said.get('PORT', '')}"


def server_of(engine: str) -> dict[str, Any]:
    """Return how settings name a test server."""
    parts = urlsplit(os.environ[f"MIGRATOR_TEST_{engine.upper()}"])
    return {
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
    }


def _terminal() -> tuple[int, int]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    return ours, theirs


def _converse(ours: int) -> str:
    """Return what is written to the terminal until it is closed; answer each question with yes."""
    said, asked, deadline = b"", 0, time.monotonic() + LONGEST
    try:
        while select.select([ours], [], [], max(deadline - time.monotonic(), 0))[0]:
            try:
                said += os.read(ours, 1 << 16)
            except OSError:  # on Linux, how a terminal without another end answers
                break
            if question := QUESTION.search(said[asked:].decode(errors="ignore")):
                asked = len(said)
                os.write(ours, f"{question[1] or 'y'}\n".encode())
        else:
            raise AssertionError(f"the command still runs after {LONGEST} s:\n{said.decode(errors='replace')}")
    finally:
        os.close(ours)
    lines = said.decode(errors="replace").replace("\r\n", "\n").split("\n")
    return "\n".join(line.rpartition("\r")[2] for line in lines)


def masked(text: str) -> str:
    """Return text without what differs from run to run, and with single blanks."""
    text = BAR.sub("", text)
    for pattern, name in MASKS:
        text = pattern.sub(name, text)
    return " ".join(text.split())


def assert_shown(shown: str, said: str, line: int) -> None:
    """Assert that a block of output is all that a command has written; ``…`` stands for anything."""
    heard, place = masked(said), 0
    parts = [masked(part) for part in shown.split("…")]
    if re.fullmatch(".*".join(map(re.escape, parts)), heard):
        return
    for part in parts:
        found = heard.find(part, place)
        assert found >= 0, f"line {line} shows, masked:\n{part}\n\nand the command wrote, masked:\n{heard[place:]}"
        place = found + len(part)
    raise AssertionError(f"line {line} leaves out, without a …, how the output begins or ends:\n{heard}")
