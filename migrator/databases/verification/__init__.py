"""Both databases compared: counts, checksums, rows."""
