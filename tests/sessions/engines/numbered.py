"""An engine whose model has a number for its key, and columns named as those of packages that hold something else."""

from typing import Any

from django.contrib.sessions.backends import db
from django.db import models


class Greeting(models.CharField):
    """A field that cannot be filled for each session."""

    def pre_save(self, model_instance: Any, add: bool) -> Any:
        if model_instance.session_key.startswith("z"):
            raise LookupError(model_instance.session_key)
        return f"hello {model_instance.session_key[0]}"


class Shop(models.Model):
    class Meta:
        app_label = "testapp"


class NumberedSession(models.Model):
    id = models.BigAutoField(primary_key=True)
    session_key = models.CharField(max_length=40, unique=True)
    session_data = models.TextField()
    expire_date = models.DateTimeField()
    user = models.ForeignKey(Shop, models.CASCADE, null=True)
    updated_at = models.BigIntegerField(default=5)
    greeting = Greeting(max_length=20)

    class Meta:
        app_label = "testapp"


class SessionStore(db.SessionStore):
    @classmethod
    def get_model_class(cls) -> Any:
        return NumberedSession
