"""The copy in several processes."""
