"""The shop's only page: it greets whom the session names."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path

NOBODY = "nobody"


def greeting(request: HttpRequest) -> HttpResponse:
    """Answer with the name of the user who is logged in, and what is in the cart."""
    name = request.user.get_username() or NOBODY
    return HttpResponse(f"{name} {len(request.session.get('cart', ()))}", content_type="text/plain")


urlpatterns = [path("", greeting)]
