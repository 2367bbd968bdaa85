"""Move live Django data: a whole database, a cache, or all users' sessions.

The flow is the same for all of them, and each step is data that can be shown before the next one starts:
plan, preflight, confirm, copy chunk by chunk, finish, verify, report.
"""

__version__ = "0.1.0"
