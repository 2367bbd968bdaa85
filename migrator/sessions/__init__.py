"""Sessions moved between caches, tables and files, so that whoever is logged in stays logged in."""
