"""A move that follows its source: rows that change while it runs are copied again, until the site can be switched."""
