"""Benchmarks that compare migrator with what a user would use instead."""
