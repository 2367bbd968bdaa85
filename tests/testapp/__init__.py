"""The models whose rows the tests move: one small model for each thing that has gone wrong for someone."""
