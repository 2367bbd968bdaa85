"""Programs that measure us beside what a user would use instead."""
