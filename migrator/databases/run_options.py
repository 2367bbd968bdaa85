"""How a run is made, who follows it, and the options of the commands for that."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypedDict

from ..conf import DEFAULT_CHUNK_SIZE
from ..console.command_line import option, positive_integer
from ..console.private_files import check_target
from ..console.progress import Progress
from ..console.prompts import Prompter
from ..errors import UsageError
from .engines.base.run_locks import MOST_PROCESSES
from .planning.plan import Plan

VERIFY = ("none", "count", "full")
ON_ERROR = ("stop", "skip")
RESUME_HINT = "Call again with resume=True to complete the run, or with cleanup=True to recreate what it dropped."


@dataclass(frozen=True)
class RunOptions:
    """How a run is made: each field is an option of the commands and a keyword of the functions behind them.

    :class:`RunKeywords` and :class:`WholeRunKeywords` say which function takes which. ``chunk_size`` is in rows;
    ``resume_hint`` is what an interrupted run says last, and has no option.
    """

    replace: str | None = option(
        None,
        "Empty the selected tables of the destination first, even if they hold rows of your own. ALIAS must equal "
        "--dest.",
        metavar="ALIAS",
    )
    update: bool = option(
        False,
        "Write only the rows that differ, in a destination that was filled before; delete rows that the source lacks.",
    )
    migrate: bool = option(False, "Migrate the destination first, which creates its tables.")
    keep_indexes: bool = option(False, "Keep indexes while rows are loaded.")
    chunk_size: int | None = option(
        None,
        "Rows in a chunk, and so in a transaction (default: MIGRATOR['CHUNK_SIZE'], or at least 10000).",
        type=positive_integer,
        metavar="ROWS",
    )
    dry_run: bool = option(False, "Show the plan and stop; nothing is written.")
    resume: bool = option(False, "Complete an interrupted run.")
    trust_done: bool = option(
        False, "With --resume: trust committed chunks instead of comparing them with the source again."
    )
    cleanup: bool = option(
        False,
        "Abandon an interrupted run: recreate the indexes, keys and triggers it dropped, and list any that cannot be.",
    )
    keep_triggers: bool = option(False, "Let triggers fire for the rows of this run.")
    verify: str = option(
        "count",
        "What to compare at the end: nothing, row counts, or also the values of all rows.",
        choices=VERIFY,
    )
    on_error: str = option("stop", "What to do with a row that the destination cannot hold.", choices=ON_ERROR)
    rejects: Path | None = option(
        None, "Where --on-error skip writes rejected rows, as JSON lines.", type=Path, metavar="FILE"
    )
    jobs: int = option(
        1,
        "Processes that copy and compare in parallel, all from one snapshot of the source.",
        type=positive_integer,
        metavar="N",
    )
    executor: str | None = option(
        None,
        "Also have rows copied and compared by workers on other hosts: an executor of MIGRATOR['EXECUTORS'].",
        metavar="NAME",
    )
    keep_journal: bool = option(False, "Keep the run's journal tables in the destination.")
    follow: bool = option(
        False,
        "After the copy, follow the source: copy again what changes there, until you ask for the last pass. All values "
        "are compared first; --verify none leaves that out.",
    )
    until_quiet: int | None = option(
        None,
        "With --follow: make the last pass when nothing has changed for so long, instead of being asked.",
        type=positive_integer,
        metavar="SECONDS",
    )
    forecast: bool = option(
        False,
        "Show how long the move is likely to take: copy a sample of each table into the database --scratch, whose "
        "tables are emptied again. Nothing is written to --dest.",
    )
    scratch: str | None = option(
        None,
        "With --forecast: a database of DATABASES on the destination's server, with the project's tables and without "
        "rows of yours; --migrate creates its tables.",
        metavar="ALIAS",
    )
    resume_hint: str = RESUME_HINT

    @property
    def readings(self) -> int:
        """How often processes read the snapshot: to compare what was committed, to copy or compare, and to verify."""
        return 1 + (self.resume and not self.trust_done) + (self.verify == "full")

    @property
    def rows_compared_at_once(self) -> int:
        """The rows in a chunk of a comparison."""
        return DEFAULT_CHUNK_SIZE if self.chunk_size is None else self.chunk_size


class RunKeywords(TypedDict, total=False):
    """The fields of :class:`RunOptions` that every run takes."""

    chunk_size: int | None
    dry_run: bool
    resume: bool
    trust_done: bool
    cleanup: bool
    keep_triggers: bool
    verify: str
    on_error: str
    rejects: Path | None
    jobs: int
    keep_journal: bool
    resume_hint: str


class WholeRunKeywords(RunKeywords, total=False):
    """The fields of :class:`RunOptions` that a run takes which fills whole tables."""

    replace: str | None
    update: bool
    migrate: bool
    keep_indexes: bool
    executor: str | None
    follow: bool
    until_quiet: int | None
    forecast: bool
    scratch: str | None


def options_of(keywords: Mapping[str, Any], taken: Collection[str], dest: str, chunk_size: int | None) -> RunOptions:
    """Return the options of a run with these keywords; ``chunk_size`` is the default of the settings.

    Raises :exc:`TypeError` for a keyword that is not in ``taken``, and :exc:`UsageError` for options that exclude each
    other, lack something, or have an invalid value.
    """
    if unknown := sorted(set(keywords).difference(taken)):
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}")
    if keywords.get("chunk_size") is None:
        keywords = {**keywords, "chunk_size": chunk_size}
    options = RunOptions(**keywords)
    for is_wrong, message in chain(_mistakes(options, dest), _mistakes_of_forecast(options)):
        if is_wrong:
            raise UsageError(message)
    _check_rejects(options)
    return options


@dataclass(frozen=True)
class Console:
    """The user's side of a run: shows the plan, draws the progress, answers the questions."""

    show: Callable[[Plan], None] = lambda plan: None
    progress: Progress = field(default_factory=Progress)
    prompter: Prompter = field(default_factory=Prompter)


def _mistakes(options: RunOptions, dest: str) -> Iterator[tuple[bool, str]]:
    """Yield what may be wrong with options, each with its message, in the order in which it is checked."""
    is_skipping = options.on_error == "skip"
    yield (
        options.replace is not None and options.replace != dest,
        f"--replace names {options.replace!r}, and the destination is {dest!r}. It has to name the database whose "
        "rows will be lost. Nothing was written.",
    )
    yield options.verify not in VERIFY, f"verify is {options.verify!r}; it has to be one of {', '.join(VERIFY)}."
    for name, is_given in {
        "--replace": options.replace is not None,
        "--resume": options.resume,
        "--cleanup": options.cleanup,
        "--on-error skip": is_skipping,
        "--keep-indexes": options.keep_indexes,
    }.items():
        yield (
            options.update and is_given,
            f"--update and {name} exclude each other: --update changes single rows in one transaction; call it "
            "again if it was interrupted.",
        )
    yield (
        options.resume and options.cleanup,
        "--resume and --cleanup exclude each other: a run is completed or abandoned.",
    )
    yield (
        is_skipping and options.rejects is None,
        "--on-error skip needs --rejects FILE: rejected rows have to be kept somewhere.",
    )
    yield options.trust_done and not options.resume, "--trust-done requires --resume."
    yield (
        options.chunk_size is not None and options.chunk_size < 1,
        f"chunk_size is {options.chunk_size}; it has to be a number of rows above zero.",
    )
    yield (
        not 1 <= options.jobs <= MOST_PROCESSES,
        f"jobs is {options.jobs}; it has to be a number of processes from 1 to {MOST_PROCESSES}.",
    )
    for name, is_given in {"--on-error skip": is_skipping, "--resume": options.resume}.items():
        yield (
            options.follow and is_given,
            f"--follow and {name} exclude each other"
            + (
                ": complete the run with --resume first, then call with --update --follow."
                if options.resume
                else ": a row that was left out would look like one that was deleted."
            ),
        )
    yield options.until_quiet is not None and not options.follow, "--until-quiet requires --follow."
    yield options.on_error not in ON_ERROR, f"on_error is {options.on_error!r}; it has to be 'stop' or 'skip'."


def _mistakes_of_forecast(options: RunOptions) -> Iterator[tuple[bool, str]]:
    """Yield what may be wrong with the options of a forecast, each with its message."""
    for name, is_given in {
        "--dry-run": options.dry_run,
        "--update": options.update,
        "--follow": options.follow,
        "--executor": options.executor is not None,
        "--resume": options.resume,
        "--cleanup": options.cleanup,
        "--on-error skip": options.on_error == "skip",
    }.items():
        yield (
            options.forecast and is_given,
            f"--forecast and {name} exclude each other: a forecast is of a copy of all rows, and writes only to the "
            "database --scratch.",
        )
    yield (
        options.forecast and options.scratch is None,
        "--forecast needs --scratch ALIAS: a second database on the destination's server, for a sample of the rows.",
    )
    yield options.scratch is not None and not options.forecast, "--scratch requires --forecast."


def _check_rejects(options: RunOptions) -> None:
    """Raise :exc:`UsageError` if rejected rows cannot be written to the file, or it holds those of another run."""
    path = options.rejects
    if options.on_error != "skip" or path is None:
        return
    check_target(path)
    is_new = not (options.resume or options.cleanup)
    if is_new and path.exists() and path.stat().st_size:
        raise UsageError(f"{str(path)!r} holds the rejected rows of another run; name a new file.")
