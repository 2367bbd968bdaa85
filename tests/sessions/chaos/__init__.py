"""Workers of a site whose session stores change under them, each a process of its own."""
