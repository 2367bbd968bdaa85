"""The pages: reports as ``--report x.html`` shows them. A script keeps them up to date; without it they reload."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from django.http import HttpResponse
from django.template import Context, Engine
from django.urls import reverse

from ..console.report_html import TEMPLATES, page_data, shown
from ..console.reports import WRITTEN_BY, Report
from ..console.time_chart import bar_chart
from ..databases.journal.status import Activity, RunStatus
from ..transitions.metrics_storage import EVENTS, Record
from ..transitions.phases import Phase

WORKING_SECONDS, IDLE_SECONDS = 2, 5  # between two reads
_PAGES = Path(__file__).with_name("page")
# Nothing is loaded, and only the page's own script and style count.
_POLICY = (
    "default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@cache
def _engine() -> Engine:
    """Return an engine of our own: projects may have no TEMPLATES, and other rules for escaping."""
    return Engine(dirs=[str(_PAGES), str(TEMPLATES)], autoescape=True)


def rendered(template: str, data: Mapping[str, Any]) -> HttpResponse:
    """Return a page; every text in ``data`` is made visible and escaped."""
    nonce = secrets.token_urlsafe(16)
    # Only texts reach the templates: Django would format numbers for a locale, in which SVG cannot read them.
    context = Context(shown({**data, "nonce": nonce, "written_by": WRITTEN_BY}), autoescape=True, use_l10n=False)
    page = HttpResponse(_engine().get_template(template).render(context))
    page["Content-Security-Policy"] = _POLICY.format(nonce)
    return page


def report_page(report: Report, more: Mapping[str, Any] | None = None) -> HttpResponse:
    """Return the page of a report."""
    data = page_data(report)
    own = {"index": reverse("migrator:index"), "seconds": str(IDLE_SECONDS), "next_address": ""}
    return rendered("watch.html", {**data, **own, **(more or {})})


def progress_data(status: RunStatus, *, was_working: bool) -> dict[str, Any]:
    """Return what the page of a run shows and its script needs in addition to the report."""
    is_working = status.activity is Activity.WORKING
    return {
        "seconds": str(WORKING_SECONDS if is_working else IDLE_SECONDS),
        # So that the page after the end of a run says that it has ended, and not that there is none.
        "next_address": "?seen" if is_working or was_working else "",
        "progress": _progress(status),
        "reading": {"at": f"{status.asked.timestamp():.3f}", "rows": str(status.rows_read)} if is_working else {},
    }


def _progress(status: RunStatus) -> dict[str, str]:
    if not status.rows_total or status.activity is Activity.NONE:
        return {}
    share = min(status.rows_read / status.rows_total, 1)
    return {
        "percent": str(int(share * 100)),
        "width": f"{share * 100:.2f}%",
        "text": f"{status.rows_read:,} of {status.rows_total:,} rows",
        "tenth": f"{int(share * 10) * 10} %",
        "phase": status.phase or "",
    }


def counts_data(record: Record, labels: Mapping[str, str]) -> dict[str, Any]:
    """Return the chart of what workers have counted, by phase."""
    groups = {
        str(phase): {
            labels.get(event, event): float(count.number)
            for event in EVENTS
            if (count := record.counts.get((phase, event))) and count.number
        }
        for phase in Phase
    }
    chart = bar_chart("Counted by all workers", groups, "{:,.0f}".format, {})
    return {"counts": chart and {**vars(chart), "bars": [vars(bar) for bar in chart.bars]}}
