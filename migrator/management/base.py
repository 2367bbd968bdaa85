"""What all commands of migrator share: options, prompts, progress, and how a command ends."""

from __future__ import annotations

import datetime as dt
import errno
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TextIO, cast

import django
from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper
from django.core.management.color import no_style

from .. import __version__
from ..console.command_line import called_command, typed_command, with_default, without_option
from ..console.interrupts import Interrupts
from ..console.private_files import check_apart, check_report
from ..console.progress import Progress
from ..console.progress_choice import progress_for
from ..console.prompts import Prompter, prompter_for
from ..console.provenance import provenance
from ..console.refusal import refusal_report
from ..console.report_files import check_form, write_report
from ..console.report_text import to_text
from ..console.reports import Report, to_json, to_json_lines
from ..console.robust_streams import has_reader, robust
from ..console.safe_text import visible, visible_lines
from ..console.wrapping import width_of, wrapped
from ..databases.database_files import check_no_database
from ..errors import MigratorError, UsageError
from .command_help import HelpFormatter, arrange, examples_text
from .drivers import driver_versions

PROGRAM_FORMS = {"json": to_json, "jsonl": to_json_lines}


def _check_files(options: Mapping[str, Any]) -> None:
    """Refuse files that would be overwritten: one that two options name, and one that is a database."""
    named = {f"--{name.replace('_', '-')}": value for name, value in options.items() if isinstance(value, Path)}
    check_apart(named)
    check_no_database(named)
    if options["report"]:
        check_form(options["report"])
        check_report(options["report"])


class MigratorCommand(BaseCommand):
    """A subclass defines its options and, in :meth:`perform`, makes one call that returns a report."""

    requires_migrations_checks = False
    # The last report that was shown, such as the plan.
    _shown: Report | None = None
    # What :meth:`handle` was called with.
    _given: Mapping[str, Any] = {}
    # What each does, and the words behind the command.
    examples: ClassVar[Sequence[tuple[str, str]]] = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        epilog = examples_text(subcommand, self.examples)
        parser = super().create_parser(prog_name, subcommand, formatter_class=HelpFormatter, epilog=epilog, **kwargs)
        arrange(parser)
        return parser

    def __init__(
        self, stdout: Any = None, stderr: Any = None, no_color: bool = False, force_color: bool = False
    ) -> None:
        # https://no-color.org; Django itself only knows DJANGO_COLORS. --force-color goes before it.
        unwanted = bool(os.environ.get("NO_COLOR")) and not force_color
        super().__init__(stdout, stderr, no_color or unwanted, force_color)

    def get_version(self) -> str:
        return f"migrator {__version__}, Django {django.get_version()}"

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_options(parser)
        parser.add_argument(
            "--no-input",
            "--noinput",
            action="store_true",
            help="Never prompt. Deleting rows still requires its own option.",
        )
        parser.add_argument(
            "--format",
            choices=("text", *PROGRAM_FORMS),
            default="text",
            help=with_default(
                "json prints one JSON document to standard output, jsonl one line for each of its records; both print "
                "everything for people to standard error."
            ),
        )
        parser.add_argument(
            "--report",
            type=Path,
            metavar="FILE",
            help="Also write the report to FILE, as its suffix says: .txt, .json, .jsonl or .html.",
        )
        parser.add_argument("--no-progress", action="store_true", help="Print plain lines instead of progress bars.")

    def add_options(self, parser: CommandParser) -> None:
        """Add the options of one command."""

    def perform(self, options: dict[str, Any], progress: Progress, prompter: Prompter) -> Report:
        """Make the command's one call."""
        raise NotImplementedError

    def get_check_kwargs(self, options: dict[str, Any]) -> dict[Any, Any]:
        # From Django 6.1 on, None stands for every entry of DATABASES: models would be checked against servers that the
        # command does not use, or whose database does not exist yet (django/core/checks/registry.py, `run_checks`).
        return {**cast(dict[Any, Any], super().get_check_kwargs(options)), "databases": ()}

    def run_from_argv(self, argv: list[str]) -> None:
        Interrupts.ends_process = True
        try:
            super().run_from_argv(argv)
        finally:
            Interrupts.ends_process = False

    def handle(self, *args: Any, **options: Any) -> None:
        if options["force_color"]:
            self.stderr.style_func = self.style.ERROR
        for wrapper in (self.stdout, self.stderr):
            cast(Any, wrapper)._out = robust(self._file(wrapper))
        self._given, self._shown, self._started = options, None, dt.datetime.now(dt.UTC)
        progress = progress_for(
            verbosity=options["verbosity"], shown=not options["no_progress"], stream=self._file(self.stderr)
        )
        try:
            _check_files(options)
            report = self.perform(options, progress, prompter_for(no_input=options["no_input"]))
        except MigratorError as error:
            refusal = refusal_report(self._name, error, self._shown, is_dry_run=bool(options.get("dry_run")))
            # After a usage error nothing began, and the file may be of an earlier run.
            path = None if isinstance(error, UsageError) else options["report"]
            if missing := self._write_report(refusal, path):
                error.steps += (f"The report is missing: {missing}",)
            self._print_document(refusal, options)
            # Usage errors quote what was typed, and have one line.
            shown = visible if isinstance(error, UsageError) else visible_lines
            raise self._error(shown(str(error)), error.exit_code) from error
        missing = self._write_report(report, options["report"])
        failure = f"The work is done, but its report is missing: {missing}" if missing else ""
        self._print_document(report, options)
        self.show(report, options)
        self._finish(report, failure, options)

    def _finish(self, report: Report, failure: str, options: Mapping[str, Any]) -> None:
        """End with the report's exit code, or for ``failure``; the verdict is the error unless it was just read."""
        if report.exit_code:
            sentences = [failure] if self._is_read(options) else [report.verdict.sentence, failure]
            text = " ".join(filter(None, sentences))
            raise self._error(visible(text), report.exit_code) if text else SystemExit(report.exit_code)
        if not failure and options["format"] in PROGRAM_FORMS:
            failure = self._output_failure()
        if failure:
            raise self._error(failure, 1)

    def _is_read(self, options: Mapping[str, Any]) -> bool:
        """Whether people who typed the command see its report."""
        return Interrupts.ends_process and options["verbosity"] > 0 and has_reader(self._file(self._shown_on(options)))

    def _shown_on(self, options: Mapping[str, Any]) -> OutputWrapper:
        """Return where reports are shown: on standard error if standard output is for a program."""
        return self.stderr if options["format"] in PROGRAM_FORMS else self.stdout

    def _error(self, text: str, exit_code: int) -> CommandError:
        """Return the error that ends the command; Django prints it after the name of its class."""
        if Interrupts.ends_process:  # otherwise a caller gets the error
            start = f"{CommandError.__name__}: "
            text = wrapped(start + text, width_of(self._file(self.stderr))).removeprefix(start)
        return CommandError(text, returncode=exit_code)

    def _write_report(self, report: Report, path: Path | None) -> str:
        """Write the report to its file; return why that failed, because it is shown in any case."""
        try:
            if path:
                write_report(report, path, provenance(self._command(), self._started, driver_versions()))
        except MigratorError as error:
            return str(error)
        return ""

    @property
    def _name(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    def _command(self) -> str:
        """Return the command line, or the command's name if there was none: it was called from Python."""
        if Interrupts.ends_process:
            return shlex.join(typed_command())
        return f"{self._name}, called from Python"

    def _words(self) -> list[str]:
        """Return what to type to repeat this command, also if Python called it: then sys.argv is of another program."""
        if Interrupts.ends_process:
            return typed_command()
        return called_command(self._name, self.create_parser("manage.py", self._name), self._given)

    def command_line(self, *without: str) -> str:
        """Return what to type to repeat this command, without some of its words."""
        return shlex.join(word for word in self._words() if word not in without)

    def in_earnest(self) -> str:
        """Return the command line that carries out what this one was asked to try, or to forecast.

        Without its report: that file now holds what is to be decided about.
        """
        words = without_option(without_option(self._words(), "--report"), "--scratch")
        return shlex.join(word for word in words if word not in ("--dry-run", "--forecast"))

    def _output_failure(self) -> str:
        """Return why the document could not be written; that its reader went away is not a failure."""
        failure: OSError | None = getattr(self._file(self.stdout), "failure", None)
        if failure is None or failure.errno in (errno.EPIPE, errno.EIO):
            return ""
        return f"The work is done, but standard output cannot be written: {failure.strerror}."

    def show(self, report: Report, options: dict[str, Any]) -> None:
        """Show a report to people."""
        is_first, self._shown = self._shown is None, report
        if options["verbosity"] > 0:
            stream = self._shown_on(options)
            file = self._file(stream)
            style = self.style if options["force_color"] or file.isatty() else no_style()
            text = to_text(report, width_of(file), style, is_full=options["verbosity"] > 1)
            self._write(stream, f"{text}\n" if is_first else f"\n{text}\n")

    def _print_document(self, report: Report, options: dict[str, Any]) -> None:
        if form := PROGRAM_FORMS.get(options["format"]):
            self._write(self.stdout, form(report))

    def _write(self, stream: OutputWrapper, text: str) -> None:
        stream.write(text, style_func=str)  # what is written to standard error is not an error
        stream.flush()

    def _file(self, wrapper: Any) -> TextIO:
        """Return the stream inside of Django's wrapper, which adds a line break to whatever is written."""
        return cast(TextIO, wrapper._out)
