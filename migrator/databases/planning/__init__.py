"""Before the first write: what a run will do, and every question that can be asked about it."""
