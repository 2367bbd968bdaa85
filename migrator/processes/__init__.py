"""Worker processes, and reading ahead in a thread."""
