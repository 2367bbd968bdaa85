"""Who may see the pages, and how: staff, by GET or HEAD, and nothing between server and browser keeps a copy."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib.auth.views import redirect_to_login
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseForbidden, HttpResponseNotAllowed

METHODS = ("GET", "HEAD")
FORBIDDEN = "These pages are for staff. An administrator can set your user's staff status."

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


def staff_only(view: View[P]) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """Answer staff only: others sign in at ``LOGIN_URL``, or are refused if they have."""

    @wraps(view)
    def checked(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        answer = _refusal(request) or view(request, *args, **kwargs)
        answer["Cache-Control"] = "no-store, private"
        return answer

    # ATOMIC_REQUESTS would open a transaction in each of these databases first, and fail if one does not answer.
    for alias in connections:
        checked = transaction.non_atomic_requests(using=alias)(checked)
    return checked


def _refusal(request: HttpRequest) -> HttpResponse | None:
    """Return the answer to those who may not see a page, ``None`` for staff."""
    if request.method not in METHODS:
        return HttpResponseNotAllowed(METHODS)
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    if not (request.user.is_active and getattr(request.user, "is_staff", False)):
        return HttpResponseForbidden(FORBIDDEN, content_type="text/plain; charset=utf-8")
    return None
