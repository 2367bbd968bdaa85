"""The stages of every copy once it is planned: show, confirm, copy."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ...console.interrupts import stopping_between_pages
from ...console.prompts import Prompter
from ...errors import Declined
from ..base import Store
from .passes import Check
from .records import CopyCounts, CopyResult, Plan, total_of


def carry_out(
    plan: Plan,
    dest: Store,
    *,
    show: Callable[[Plan], object] | None,
    prompter: Prompter,
    question: str,
    copy: Callable[[Check], Sequence[CopyCounts]],
) -> CopyResult[Plan]:
    """Show a plan, ask, and have ``copy`` carry it out and return the counts of its passes; return the result.

    Raises :exc:`Declined` if the answer is no, and :exc:`migrator.errors.Interrupted` between two pages.
    """
    if show:
        show(plan)
    if plan.options.dry_run:
        return CopyResult(plan, is_dry_run=True)
    if not prompter.proceed(question):
        raise Declined("Nothing was written.")
    started, evicted = time.monotonic(), dest.evictions()
    with stopping_between_pages() as check:
        passes = copy(check)
    seconds = time.monotonic() - started
    return CopyResult(plan, tuple(passes), seconds, max(dest.evictions() - evicted, 0), total=total_of(passes))
