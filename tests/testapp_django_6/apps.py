from __future__ import annotations

from django.apps import AppConfig


class Django6TestappConfig(AppConfig):
    name = "tests.testapp_django_6"
    label = "testapp_django_6"
