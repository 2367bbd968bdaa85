"""The shop's only page: it greets the session's user."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path

ANONYMOUS = "anonymous"


def greeting(request: HttpRequest) -> HttpResponse:
    """Return the name of the user who is logged in, and the number of items in the cart."""
    name = request.user.get_username() or ANONYMOUS
    return HttpResponse(f"{name} {len(request.session.get('cart', ()))}", content_type="text/plain")


urlpatterns = [path("", greeting)]
