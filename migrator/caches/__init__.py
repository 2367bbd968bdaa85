"""Caches: their keys listed, read and written many at a time, with values as they are stored and exact expiry."""
