"""Show how far the run into a database is, from another terminal than that of the run."""

from __future__ import annotations

import signal
import time
from typing import Any

from django.core.management.base import CommandParser

from ...console.progress import Progress
from ...console.progress_lines import LINE_EVERY_SECONDS
from ...console.prompts import Prompter
from ...console.report_text import to_text
from ...console.reports import Report
from ...console.wrapping import size_of
from ...databases.journal.status import Activity, RunStatus, StatusReader
from ...databases.reports.status import status_line, status_report
from ...errors import Interrupted
from ..base import PROGRAM_FORMS, MigratorCommand

REDRAW_SECONDS = 1.0
UP_AND_CLEAR = "\x1b[{}F\x1b[J"  # to the beginning of the line so many lines above, then erase to the end


class Command(MigratorCommand):
    help = (
        "Show how far the run into a database is, and how to continue one that was interrupted. Writes nothing. The "
        "exit code is 3 for an interrupted run, that of a run that has finished with --keep-journal, and otherwise 0."
    )
    examples = (
        ("Show how far the run is:", "--dest new"),
        ("Redraw that every second, until the run ends:", "--dest new --watch"),
        ("Print it for a program:", "--dest new --format json"),
    )

    def add_options(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--dest", required=True, metavar="ALIAS", help="The database that the run fills, in DATABASES."
        )
        parser.add_argument(
            "--watch", action="store_true", help="Redraw every second, until the run ends or Ctrl-C is pressed."
        )

    def perform(self, options: dict[str, Any], progress: Progress, prompter: Prompter) -> Report:
        with StatusReader(options["dest"]) as reader:
            status, was_working = reader.read(), False
            if options["watch"]:
                try:
                    status, was_working = self._watch(reader, status, options, progress)
                except KeyboardInterrupt:
                    text = f"Stopped watching. The run in {options['dest']!r} goes on."
                    raise Interrupted(text, signal.SIGINT) from None
        return status_report(status, was_working=was_working)

    def _watch(
        self, reader: StatusReader, status: RunStatus, options: dict[str, Any], progress: Progress
    ) -> tuple[RunStatus, bool]:
        """Show the status until no run works any more; return the last one, and whether one has worked."""
        drawing, was_working = _Drawing(self, options, progress), False
        while status.activity is Activity.WORKING:
            drawing.draw(status)
            was_working = True
            time.sleep(REDRAW_SECONDS)
            status = reader.read_patiently(status)
        drawing.erase()
        return status, was_working

    def is_drawn(self, options: dict[str, Any]) -> bool:
        """Whether people see a terminal that can be redrawn."""
        is_text = options["format"] not in PROGRAM_FORMS and not options["no_progress"] and options["verbosity"] > 0
        return is_text and self._file(self.stdout).isatty()

    def write(self, text: str) -> None:
        """Write to the terminal at once, without a line break."""
        file = self._file(self.stdout)
        file.write(text)
        file.flush()

    def fitting(self, report: Report) -> str:
        """Return a report as text with as many lines as the terminal can show above the cursor."""
        size = size_of(self._file(self.stdout))
        lines = to_text(report, size.columns, self.style).split("\n")
        return "".join(f"{line}\n" for line in lines[: size.lines - 1])


class _Drawing:
    """The status on a terminal, drawn over the last one; a line of standard error every half minute elsewhere."""

    def __init__(self, command: Command, options: dict[str, Any], progress: Progress) -> None:
        self._command, self._options, self._progress = command, options, progress
        self._lines = 0
        self._logged = float("-inf")

    def draw(self, status: RunStatus) -> None:
        if self._command.is_drawn(self._options):
            text = self._command.fitting(status_report(status))
            self.erase()
            self._command.write(text)
            self._lines = text.count("\n")
        elif time.monotonic() - self._logged >= LINE_EVERY_SECONDS:
            self._logged = time.monotonic()
            self._progress.message(status_line(status))

    def erase(self) -> None:
        """Remove what was drawn."""
        if self._lines:
            self._command.write(UP_AND_CLEAR.format(self._lines))
            self._lines = 0
