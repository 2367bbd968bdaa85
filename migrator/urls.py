"""The pages to watch: ``path("migrator/", include("migrator.urls"))`` adds them to a project's URLs."""

from __future__ import annotations

from django.urls import path

from .watch import views

app_name = "migrator"
urlpatterns = [
    path("", views.index, name="index"),
    path("status/<path:alias>.json", views.status_document, name="status-document"),
    path("status/<path:alias>/", views.status, name="status"),
    path("sessions/", views.sessions, name="sessions"),
    path("caches/<path:alias>/", views.cache, name="cache"),
]
