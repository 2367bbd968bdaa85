"""Move whole databases: rows through the tables of the project's models, never through model instances."""
