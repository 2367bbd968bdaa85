"""The demo with workers on other hosts: two PostgreSQL databases, and a Redis that carries Celery's messages.

DEMO_POSTGRESQL and DEMO_REDIS are the addresses of their servers.
"""

import os

from settings.base import INSTALLED_APPS as BASE_APPS
from settings.base import database_from_url
from settings.demo import *  # noqa: F403

_server = database_from_url(os.environ["DEMO_POSTGRESQL"])
DATABASES = {"default": {**_server, "NAME": "migrator_demo_shop"}, "new": {**_server, "NAME": "migrator_demo_new"}}
DATABASE_ROUTERS = []
INSTALLED_APPS = [*BASE_APPS, "demo"]

MIGRATOR = {"EXECUTORS": {"celery": {"APP": "demo.celery.app", "QUEUE": "migrator"}}}
CELERY_BROKER_URL = os.environ["DEMO_REDIS"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
