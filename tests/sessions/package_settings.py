"""The site with django-user-sessions or django-qsessions installed, whose apps cannot both be, in one database."""

import os

from tests.sessions.settings import *  # noqa: F403
from tests.sessions.settings import BASE_APPS, DATABASES, MIDDLEWARE

PACKAGE = os.environ["MIGRATOR_TEST_SESSIONS_PACKAGE"]
STOCK_MIDDLEWARE = "django.contrib.sessions.middleware.SessionMiddleware"

DATABASES = {"default": DATABASES[os.environ["MIGRATOR_TEST_SESSIONS_DATABASE"]]}
DATABASE_ROUTERS: list[str] = []
INSTALLED_APPS = [*BASE_APPS, PACKAGE]
OWN_MIDDLEWARE = [name.replace(STOCK_MIDDLEWARE, f"{PACKAGE}.middleware.SessionMiddleware") for name in MIDDLEWARE]
MIDDLEWARE = OWN_MIDDLEWARE
SESSION_ENGINE = f"{PACKAGE}.backends.db"
