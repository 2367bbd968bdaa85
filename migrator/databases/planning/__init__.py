"""The plan of a run, and everything that is checked before the first write."""
