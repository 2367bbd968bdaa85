"""Sessions moved between places, on real servers."""
