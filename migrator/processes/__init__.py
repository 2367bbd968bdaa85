"""Processes that work at the same time."""
