"""A cache that changes from one backend to another without a value lost, stale or back from the dead."""

from .cache import TransitionCache

__all__ = ["TransitionCache"]
