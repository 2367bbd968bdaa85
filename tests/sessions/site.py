"""A small site that people log in to, and the odd parts that some projects have."""

import hashlib
import json
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model, login, logout
from django.http import HttpRequest, JsonResponse
from django.urls import path


def log_in(request: HttpRequest, username: str) -> JsonResponse:
    user = get_user_model().objects.get(username=username)
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return who(request)


def who(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"user": request.user.get_username(), "cart": request.session.get("cart")})


def put(request: HttpRequest) -> JsonResponse:
    request.session["cart"] = json.loads(request.body)
    return who(request)


def log_out(request: HttpRequest) -> JsonResponse:
    logout(request)
    return who(request)


urlpatterns = [path("login/<username>", log_in), path("who", who), path("put", put), path("logout", log_out)]


class SessionsRouter:
    """Keeps the session tables in one database and everything else in `default`."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return settings.SESSIONS_DB if model.__name__ == "Session" else None

    db_for_write = db_for_read


def suffixed_key(key: str, prefix: str, version: int) -> str:
    return f"{prefix}/{version}/{key}!end"


def hashed_key(key: str, prefix: str, version: int) -> str:
    return hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()
