"""The same copy in several processes."""
