"""Tests of django-migrator; their tree mirrors `migrator/`."""
