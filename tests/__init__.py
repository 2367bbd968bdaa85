"""Tests of django-bulk-migrator; their tree mirrors `migrator/`."""
