"""Move live Django data in one go: a whole database, or everybody's sessions.

The flow is the same whatever is moved, and each step is data that can be shown before the next one starts:
plan, preflight, confirm, copy chunk by chunk, finish, verify, report.
"""
