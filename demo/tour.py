"""The tour: make the old database, move it with the real commands, and look at what arrived."""

from __future__ import annotations

import io
import shlex
import time

from django.core.management import call_command
from django.core.management.base import CommandError
from django.core.management.color import color_style

from .data import fill, planned_rows
from .facts import contents, facts, fingerprint
from .files import NEW, OLD, file_of, report_file, shown

BETWEEN = ("--source", OLD, "--dest", NEW)
STEPS = 5
NEXT = (
    ("the move once more: see how the rows that are there now are protected", ("batch_migrate", *BETWEEN)),
    ("the same, with leave to replace them", ("batch_migrate", *BETWEEN, "--replace", NEW)),
    ("the counts again, for a program", ("verify_counts", *BETWEEN, "--format", "json")),
)


class Tour:
    """Say each step, show the command that a person would type, and run it."""

    def __init__(self, *, orders: int, elsewhere: bool) -> None:
        self._orders = orders
        self._elsewhere = elsewhere
        self._style = color_style()
        self._step = 0
        self._started = time.monotonic()

    def run(self) -> bool:
        """Walk all steps; tell whether everything arrived."""
        self._introduce()
        self._announce("Make the old database")
        self._make_the_old_database()
        self._announce("Plan the move: nothing is written yet")
        self._command("batch_migrate", *BETWEEN, "--migrate", "--dry-run")
        self._announce("Move everything")
        self._move()
        self._announce("Count both sides")
        self._command("verify_counts", *BETWEEN)
        self._announce("Look at what arrived, without those commands")
        all_well = self._look()
        self._part(all_well=all_well)
        return all_well

    def _introduce(self) -> None:
        rows = sum(planned_rows(self._orders).values())
        print(self._style.MIGRATE_HEADING("A shop moves to a new database"))
        print(f"A small web shop of about {rows:,} rows is made in one SQLite file and moved to another by")
        print("the real commands; then the demo compares the two by itself. It writes only these files:")
        for name, file in ((OLD, file_of(OLD)), (NEW, file_of(NEW)), ("report", report_file())):
            print(f"  {name:<8} {shown(file)}")

    def _announce(self, title: str) -> None:
        self._step += 1
        print("\n" + self._style.MIGRATE_HEADING(f"{self._step}/{STEPS}  {title}"))

    def _show(self, *words: str) -> None:
        print(self._style.MIGRATE_LABEL(f"$ {typed(words)}") + "\n", flush=True)

    def _command(self, *words: str) -> None:
        self._show(*words)
        call_command(*words)

    def _move(self) -> None:
        """Move with progress on the terminal; of the text, leave its tables to the report and print the end."""
        words = ("batch_migrate", *BETWEEN, "--migrate", "--no-input", "--report", shown(report_file()))
        self._show(*words)
        output = io.StringIO()
        try:
            call_command(*words, stdout=output)
        except CommandError:
            print(output.getvalue())
            raise
        print("\n" + output.getvalue().rstrip().rpartition("\n\n")[2])
        print(f"The tables of this run are left out here; they are in {shown(report_file())}.")

    def _make_the_old_database(self) -> None:
        self._show("migrate", "--database", OLD)
        started = time.monotonic()
        call_command("migrate", "--database", OLD, verbosity=0)
        fill(OLD, orders=self._orders)
        seconds = time.monotonic() - started
        found = contents(OLD)
        rows = sum(content.rows for content in found.values())
        print("Filled with customers, goods, orders, invoices, staff, notes and the admin's log:")
        print(f"{rows:,} rows in {len(found)} tables ({seconds:.1f} s).")
        print(f"The same each time; the fingerprint is {fingerprint(found)}.")

    def _look(self) -> bool:
        print()
        found = list(facts(OLD, NEW))
        for fact in found:
            mark = self._style.SUCCESS("yes") if fact.holds else self._style.ERROR("NO ")
            print(f"  {mark}  {fact.sentence}")
        return all(fact.holds for fact in found)

    def _part(self, *, all_well: bool) -> None:
        seconds = time.monotonic() - self._started
        if not all_well:
            print("\n" + self._style.ERROR("Something did not arrive as it was.") + f" ({seconds:.1f} s)")
            return
        print("\n" + self._style.SUCCESS("Everything arrived.") + f" ({seconds:.1f} s)")
        if self._elsewhere:
            return  # manage.py looks in the usual place, where this run's files are not
        print("\nTry next:")
        for purpose, words in NEXT:
            print(f"  {self._style.MIGRATE_LABEL(typed(words))}\n      {purpose}")


def typed(words: tuple[str, ...]) -> str:
    """Write a command as a person types it."""
    return f"python manage.py {shlex.join(words)}"
