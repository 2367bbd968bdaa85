"""Where sessions are kept: a cache, a table, a directory of files."""
