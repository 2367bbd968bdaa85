"""Both databases compared: row counts, checksums, rows."""
