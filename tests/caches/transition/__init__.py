"""Tests of the cache that changes from one backend to another."""
