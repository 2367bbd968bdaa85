"""The URLs of a project that includes the pages."""

from django.urls import include, path

urlpatterns = [path("migrator/", include("migrator.urls"))]
