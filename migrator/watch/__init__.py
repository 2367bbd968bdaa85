"""Pages to watch runs and transitions in a browser: for staff, and they write nothing. ``migrator.urls`` has them."""
