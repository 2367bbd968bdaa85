"""How a run is to be made, and who watches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..conf import DEFAULT_CHUNK_SIZE
from ..console.private_files import check_target
from ..console.progress import Progress
from ..console.prompts import Prompter
from ..errors import UsageError
from .engines.base.engine import MOST_WORKERS
from .planning.plan import Plan

VERIFY = ("none", "count", "full")
RESUME_HINT = "Call again with resume=True to go on, or with cleanup=True to put back what was taken off."


@dataclass(frozen=True)
class RunOptions:
    """How a run is to be made; each is an option of the commands.

    ``chunk_size`` is ``None`` where nobody has chosen the rows in a chunk.
    """

    chunk_size: int | None
    replace: str | None = None
    update: bool = False
    dry_run: bool = False
    resume: bool = False
    trust_done: bool = False
    cleanup: bool = False
    keep_indexes: bool = False
    keep_triggers: bool = False
    verify: str = "count"
    on_error: str = "stop"
    rejects: Path | None = None
    keep_journal: bool = False
    jobs: int = 1
    resume_hint: str = RESUME_HINT

    @property
    def rows_compared_at_once(self) -> int:
        """The rows in a chunk of a comparison."""
        return DEFAULT_CHUNK_SIZE if self.chunk_size is None else self.chunk_size


@dataclass(frozen=True)
class Console:
    """Who is told and asked: shows the plan, draws the progress, answers the questions."""

    show: Callable[[Plan], None] = lambda plan: None
    progress: Progress = field(default_factory=Progress)
    prompter: Prompter = field(default_factory=Prompter)


def check_options(options: RunOptions, dest: str) -> None:
    """Raise :exc:`UsageError` for options that exclude each other or lack something."""
    if options.replace is not None and options.replace != dest:
        raise UsageError(
            f"--replace names {options.replace!r}, and the destination is {dest!r}. It has to name the database whose "
            "rows will be lost. Nothing was written."
        )
    if options.verify not in VERIFY:
        raise UsageError(f"verify is {options.verify!r}; it is one of {', '.join(VERIFY)}.")
    if options.update:
        _check_update(options)
    if options.resume and options.cleanup:
        raise UsageError("--resume and --cleanup exclude each other: a run goes on, or is given up.")
    if options.on_error == "skip" and options.rejects is None:
        raise UsageError("--on-error skip needs --rejects FILE: a row that is not copied has to be kept somewhere.")
    if options.trust_done and not options.resume:
        raise UsageError("--trust-done goes with --resume.")
    if options.chunk_size is not None and options.chunk_size < 1:
        raise UsageError(f"chunk_size is {options.chunk_size}; it is a number of rows above zero.")
    if not 1 <= options.jobs <= MOST_WORKERS:
        raise UsageError(f"jobs is {options.jobs}; it is a number of processes from 1 to {MOST_WORKERS}.")
    if options.on_error not in ("stop", "skip"):
        raise UsageError(f"on_error is {options.on_error!r}; it is 'stop' or 'skip'.")
    if options.on_error == "skip":
        if options.rejects is None:
            raise UsageError("--on-error skip needs --rejects FILE: a row that is not copied has to be kept somewhere.")
        check_target(options.rejects)
        goes_on = options.resume or options.cleanup
        if not goes_on and options.rejects.exists() and options.rejects.stat().st_size:
            raise UsageError(f"{str(options.rejects)!r} holds the rejected rows of another run; name a new file.")


def _check_update(options: RunOptions) -> None:
    others = {
        "--replace": options.replace is not None,
        "--resume": options.resume,
        "--cleanup": options.cleanup,
        "--on-error skip": options.on_error == "skip",
        "--keep-indexes": options.keep_indexes,
        "--jobs": options.jobs > 1,
    }
    for name, is_given in others.items():
        if is_given:
            raise UsageError(
                f"--update and {name} exclude each other: --update rewrites single rows in one transaction, and is "
                "simply called again where it was cut off."
            )
