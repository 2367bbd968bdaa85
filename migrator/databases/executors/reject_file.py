"""The reject file of a run, with the rows that workers on other hosts have rejected."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ..copying.rejects import Rejects, keep_lines, rejects_for
from ..journal.journal import Journal
from ..journal.worker_mail import WorkerMail


def open_rejects(on_error: str, path: Path | None, journal: Journal, *, is_resumed: bool) -> Rejects:
    """Open the reject file of ``--on-error``; that of a resumed run keeps only rows of chunks that are done.

    It gets the rows that workers have rejected for a command that was killed before it wrote them.
    """
    if on_error != "skip" or path is None or not is_resumed:
        return rejects_for(on_error, path)
    keep_lines(path, cache(journal.is_done))
    rejects = rejects_for(on_error, path)
    mail = WorkerMail(journal.alias, "")
    left = mail.rejected_before()
    written = set(path.read_text(encoding="utf-8").splitlines()) if left else set()
    for report in left:
        if report.body not in written and journal.is_done(str(report.table), report.number):
            rejects.keep(report.body)
    mail.delete(left)
    return rejects
