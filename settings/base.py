"""A project whose databases and caches come from environment variables.

`DATABASE_URL` is the database `default`, `DATABASE_URL_NEW` the database `new`, and so on for any name;
`CACHE_URL` and `CACHE_URL_NEW` do the same for caches. Users, passwords and names are percent-encoded.
"""

import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent

_DATABASE_BACKENDS = {
    "postgresql": "django.db.backends.postgresql",
    "postgres": "django.db.backends.postgresql",
    "mysql": "django.db.backends.mysql",
    "mariadb": "django.db.backends.mysql",
    "sqlite": "django.db.backends.sqlite3",
}
_CACHE_BACKENDS = {
    "redis": "django_redis.cache.RedisCache",
    "memcached": "django.core.cache.backends.memcached.PyMemcacheCache",
    "locmem": "django.core.cache.backends.locmem.LocMemCache",
}


def database_from_url(url: str) -> dict[str, Any]:
    """Return the DATABASES entry for `postgresql://user:password@host:port/name?option=value` or `sqlite:///file`."""
    parts = urlsplit(url)
    if parts.scheme not in _DATABASE_BACKENDS:
        raise ValueError(f"No database backend for {parts.scheme!r}; choose one of {sorted(_DATABASE_BACKENDS)}.")
    entry: dict[str, Any] = {
        "ENGINE": _DATABASE_BACKENDS[parts.scheme],
        "NAME": unquote(parts.path.removeprefix("/")),
        "OPTIONS": dict(parse_qsl(parts.query)),
    }
    if parts.scheme != "sqlite":
        entry |= {
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": parts.hostname or "",
            "PORT": str(parts.port or ""),
        }
    if _DATABASE_BACKENDS[parts.scheme].endswith("mysql"):
        entry["OPTIONS"].setdefault("charset", "utf8mb4")
    return entry


def cache_from_url(url: str) -> dict[str, Any]:
    """Return the CACHES entry for `redis://:password@host:port/number`, `memcached://host:port` or `locmem://name`."""
    parts = urlsplit(url)
    if parts.scheme not in _CACHE_BACKENDS:
        raise ValueError(f"No cache backend for {parts.scheme!r}; choose one of {sorted(_CACHE_BACKENDS)}.")
    location = url if parts.scheme == "redis" else parts.netloc
    return {"BACKEND": _CACHE_BACKENDS[parts.scheme], "LOCATION": location}


def _by_alias(variable: str, read: Callable[[str], dict[str, Any]], environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the entries of VARIABLE as `default` and of VARIABLE_SOME_NAME as `some_name`."""
    entries = {}
    for name, value in environment.items():
        if name == variable:
            entries["default"] = read(value)
        elif name.startswith(f"{variable}_"):
            entries[name.removeprefix(f"{variable}_").lower()] = read(value)
    return entries


# Signed data does not survive a restart unless the environment sets a key.
SECRET_KEY = os.environ.get("SECRET_KEY") or secrets.token_urlsafe(40)
DEBUG = False
ALLOWED_HOSTS: list[str] = []

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.admin",
    "django.contrib.messages",
    "django.contrib.sites",
    "django.contrib.sessions",
    "migrator",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = _by_alias("DATABASE_URL", database_from_url, os.environ)
CACHES: dict[str, Any] = {"default": {"BACKEND": _CACHE_BACKENDS["locmem"]}} | _by_alias(
    "CACHE_URL", cache_from_url, os.environ
)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

USE_TZ = True
TIME_ZONE = "UTC"
SITE_ID = 1
