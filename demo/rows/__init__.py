"""The rows of the shop's tables: the same on every day and every machine."""
