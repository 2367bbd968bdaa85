"""An engine whose model has columns that come to be in save() and in the database."""

from typing import Any

from django.contrib.sessions.backends import db
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.db.models.functions import Now, Upper


class Loud(models.CharField):
    """A field that fills itself where it is saved, as slugs and numbers of invoices do."""

    def pre_save(self, model_instance: Any, add: bool) -> Any:
        return f"of {model_instance.session_key[:4]}" if add else "saved again"


class StampedSession(AbstractBaseSession):
    seen = models.DateTimeField(auto_now=True)
    made = models.DateField(auto_now_add=True)
    began = models.DateTimeField(auto_now_add=True)
    stamped = models.DateTimeField(db_default=Now())
    level = models.IntegerField(db_default=7)
    note = models.CharField(max_length=8)
    name = Loud(max_length=20)
    shout = models.GeneratedField(
        expression=Upper("name"), output_field=models.CharField(max_length=20), db_persist=True
    )

    class Meta:
        app_label = "testapp"

    @classmethod
    def get_session_store_class(cls) -> Any:
        return SessionStore


class SessionStore(db.SessionStore):
    @classmethod
    def get_model_class(cls) -> Any:
        return StampedSession
