from __future__ import annotations

from django.apps import AppConfig


class PostgreSQLTestappConfig(AppConfig):
    name = "tests.testapp_postgresql"
    label = "testapp_postgresql"
    default_auto_field = "django.db.models.BigAutoField"
