"""Rows copied in chunks, and what follows the last one."""
