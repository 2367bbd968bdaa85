"""Faults while sessions are copied, end to end."""
