"""Tests of ``migrator.databases.following``."""
