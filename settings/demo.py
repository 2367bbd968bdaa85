"""The demo: a small project whose data moves from one SQLite file to another, with sessions in a third."""

from settings.base import *  # noqa: F403
from settings.base import INSTALLED_APPS as BASE_APPS
from settings.base import ROOT

DEMO_DIRECTORY = ROOT / ".demo"
DEMO_DIRECTORY.mkdir(exist_ok=True)

INSTALLED_APPS = [*BASE_APPS, "demo"]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DEMO_DIRECTORY / "source.sqlite3"},
    "new": {"ENGINE": "django.db.backends.sqlite3", "NAME": DEMO_DIRECTORY / "new.sqlite3"},
    "sessions": {"ENGINE": "django.db.backends.sqlite3", "NAME": DEMO_DIRECTORY / "sessions.sqlite3"},
}
DATABASE_ROUTERS = ["demo.sessions.OwnDatabase"]
# The demo adds two caches in the Redis that it starts; it uses none of the environment's.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
ROOT_URLCONF = "demo.urls"
ALLOWED_HOSTS = ["shop.example"]
SECRET_KEY = "nothing in the demo is secret"  # noqa: S105
