"""Run a command and call functions inside of a real project.

python -m tests.scenarios.realapps.inside COMMAND MODULE:FUNCTION ...

Django is set up with the project's settings first, and for requests of test clients. The command, a line as for
`manage.py` or an empty one, runs in a fork: most of the time of either goes into the import of the project. What the
functions return is the last line on standard output, as one JSON object by the functions' names. If the command fails,
they are not called, and its exit code is that of this process.
"""

import json
import os
import shlex
import sys
from importlib import import_module

import django
from django.core.management import execute_from_command_line
from django.test.utils import setup_test_environment


def main(command: str, names: list[str]) -> None:
    django.setup()
    if command:
        run(shlex.split(command))
    setup_test_environment()
    returned = {}
    for name in names:
        module, _, function = name.partition(":")
        returned[function] = getattr(import_module(module), function)()
    print(json.dumps(returned))  # noqa: T201


def run(words: list[str]) -> None:
    """Run a command of the project in a fork, and end if it fails."""
    pid = os.fork()
    if not pid:
        execute_from_command_line(["manage.py", *words])
        sys.exit()
    _, status = os.waitpid(pid, 0)
    if code := os.waitstatus_to_exitcode(status):
        sys.exit(code)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
