"""Caches listed, read, written and copied, on real servers."""
