"""The sessions' test settings of a site that nobody can log in to: without django.contrib.auth."""

from tests.sessions.settings import *  # noqa: F403

INSTALLED_APPS = ["django.contrib.sessions", "migrator"]
ROOT_URLCONF = ""
DATABASE_ROUTERS: list[str] = []
