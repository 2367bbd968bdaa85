"""``python -m demo``: run the tour; the exit code is 0 if everything arrived."""

from __future__ import annotations

import argparse
import io
import os
import sys
from contextlib import ExitStack
from pathlib import Path

import django


def positive_integer(text: str) -> int:
    """Parse a positive integer."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description="Move a small shop and its sessions.")
    parser.add_argument("--orders", type=positive_integer, metavar="N", help="number of orders in the shop")
    parser.add_argument("--sessions", type=positive_integer, metavar="N", help="number of sessions")
    parser.add_argument("--directory", type=Path, metavar="DIR", help="directory for the SQLite files")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the tour and return the exit code."""
    options = parse(arguments)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.demo")
    django.setup()

    from django.core.management.base import CommandError

    from .files import NotOurs, use_directory

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # keeps output in order with progress on standard error
    try:
        use_directory(options.directory)
        return 0 if run_tour(options) else 1
    except NotOurs as error:
        print(error, file=sys.stderr)
        return 2
    except CommandError as error:
        print(f"The command stopped: {error}", file=sys.stderr)
        return error.returncode or 1
    except KeyboardInterrupt:
        print("\nStopped. The next run starts over.", file=sys.stderr)
        return 130


def run_tour(options: argparse.Namespace) -> bool:
    """Run the tour, with a Redis of its own if one starts; return whether everything arrived."""
    from .data import DEFAULT_ORDERS
    from .server import NoRedis, start_redis
    from .sessions import DEFAULT_SESSIONS
    from .tour import Tour

    with ExitStack() as closing:
        redis, why_no_redis = None, ""
        try:
            redis = closing.enter_context(start_redis())
        except NoRedis as error:
            why_no_redis = str(error)
        tour = Tour(
            orders=options.orders or DEFAULT_ORDERS,
            sessions=options.sessions or DEFAULT_SESSIONS,
            redis=redis,
            why_no_redis=why_no_redis,
        )
        return tour.run()


if __name__ == "__main__":
    sys.exit(main())
