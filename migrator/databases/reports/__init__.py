"""Plans, results and comparisons as reports."""
