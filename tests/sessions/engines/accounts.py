"""An engine with a model of its own, whose extra columns its class fills, as Django's documentation shows it."""

from typing import Any

from django.contrib.sessions.backends import db
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.utils import timezone


class AccountSession(AbstractBaseSession):
    account_id = models.IntegerField(null=True, db_index=True)
    origin = models.CharField(max_length=8, default="web")
    address = models.GenericIPAddressField(null=True)
    notes = models.JSONField(default=dict)
    began = models.DateTimeField(default=timezone.now)

    class Meta:
        app_label = "testapp"

    @classmethod
    def get_session_store_class(cls) -> Any:
        return SessionStore


class SessionStore(db.SessionStore):
    @classmethod
    def get_model_class(cls) -> Any:
        return AccountSession

    def create_model_instance(self, data: Any) -> Any:
        row = super().create_model_instance(data)
        row.account_id = int(data["_auth_user_id"]) if "_auth_user_id" in data else None
        row.address = data.get("address")
        row.notes = {"cart": data.get("cart")}
        return row
