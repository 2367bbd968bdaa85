"""The views: each reads what the command of that name reads, and shows the same report."""

from __future__ import annotations

from dataclasses import replace

from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse

from .. import conf
from ..caches.transition.reports import transition_report
from ..caches.transition.status import cache_transition, transitions
from ..console.refusal import refusal_report
from ..console.reports import Report, to_json
from ..databases.journal.status import RunStatus, migrator_status
from ..databases.reports.status import status_report
from ..errors import MigratorError, UsageError
from ..sessions.transition.readiness import session_standing
from ..sessions.transition.reports import EVENT_LABELS, standing_report
from .access import staff_only
from .pages import counts_data, progress_data, rendered, report_page
from .reading import read_briefly

WAS_WORKING = "seen"


@staff_only
def index(request: HttpRequest) -> HttpResponse:
    """List what there is to watch. No database is asked."""
    groups = [
        {"title": "Runs, by destination", "links": [_link("status", alias) for alias in _destinations()]},
        {"title": "Transitions", "links": [*_session_links(), *(_link("cache", alias) for alias in transitions())]},
    ]
    return rendered("index.html", {"groups": [group for group in groups if group["links"]]})


@staff_only
def status(request: HttpRequest, alias: str) -> HttpResponse:
    """Show how far the run into a database is."""
    was_working = WAS_WORKING in request.GET
    try:
        found = _status(alias)
    except MigratorError as error:
        return _failed(f"Run into {alias!r}", error)
    report = status_report(found, was_working=was_working)
    return report_page(report, progress_data(found, was_working=was_working))


@staff_only
def status_document(request: HttpRequest, alias: str) -> HttpResponse:
    """Return what ``migrator_status --format json`` prints; with status 503 if that is an error."""
    try:
        report, code = status_report(_status(alias)), 200
    except MigratorError as error:
        report, code = refusal_report("migrator_status", error), 503
    return HttpResponse(to_json(report) + "\n", content_type="application/json", status=code)


@staff_only
def sessions(request: HttpRequest) -> HttpResponse:
    """Show how far the transition of the sessions is, as far as that shows without opening a store."""
    try:
        found = read_briefly("sessions", "MIGRATOR['SESSIONS']", session_standing)
    except MigratorError as error:
        return _failed("Transition of sessions", error)
    return report_page(standing_report(found), counts_data(found.record, EVENT_LABELS))


@staff_only
def cache(request: HttpRequest, alias: str) -> HttpResponse:
    """Show how far the transition of a cache is."""
    if alias not in caches.settings:
        raise Http404
    try:
        found = read_briefly("cache", alias, lambda: cache_transition(cache=alias))
    except MigratorError as error:
        return _failed(f"Transition of the cache {alias!r}", error)
    return report_page(transition_report(found), counts_data(found.record, {}))


def _status(alias: str) -> RunStatus:
    if alias not in connections.settings:
        raise Http404
    return read_briefly("status", alias, lambda: migrator_status(dest=alias))


def _failed(title: str, error: MigratorError) -> HttpResponse:
    """Return a page on what cannot be read now. Its status is 200: a proxy may replace the page of another one."""
    report = refusal_report(title, error)
    # It is not the page that failed, and it asks again.
    verdict = replace(report.verdict, word="NOT READABLE")
    return report_page(Report(title=title, verdict=verdict, points=report.points))


def _destinations() -> list[str]:
    """Return the databases that can be the destination of a run; all if the settings have a mistake."""
    try:
        protected = conf.load().PROTECTED
    except (ImproperlyConfigured, UsageError):  # which system checks report
        protected = ()
    return [alias for alias in connections if alias not in protected]


def _session_links() -> list[dict[str, str]]:
    try:
        is_configured = conf.load().SESSIONS is not None
    except (ImproperlyConfigured, UsageError):
        is_configured = True  # its page says what is wrong
    return [{"name": "Sessions", "address": reverse("migrator:sessions")}] if is_configured else []


def _link(view: str, alias: str) -> dict[str, str]:
    return {
        "name": alias if view == "status" else f"Cache {alias!r}",
        "address": reverse(f"migrator:{view}", args=[alias]),
    }
