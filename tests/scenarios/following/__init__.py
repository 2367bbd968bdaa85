"""Moves that follow their source while others write to it."""
