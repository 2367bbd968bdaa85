"""Call functions inside of a real project: python -m tests.scenarios.realapps.inside MODULE:FUNCTION ...

Django is set up with the project's settings first. What the functions return is the last line on standard output,
as one JSON object by the functions' names.
"""

import json
import sys
from importlib import import_module

import django


def main(names: list[str]) -> None:
    django.setup()
    returned = {}
    for name in names:
        module, _, function = name.partition(":")
        returned[function] = getattr(import_module(module), function)()
    print(json.dumps(returned))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
