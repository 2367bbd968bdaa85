"""The functions behind the commands that copy sessions: ``copy_sessions`` with each command's kinds of stores.

A cache or a table that is left out is the one that the project's own sessions use. Two tables, or two caches, are both
named.
"""

from __future__ import annotations

from functools import partial

from .copying.run import copy_sessions
from .records import End

copy_sessions_cache_to_db = partial(copy_sessions, source=End("cache"), dest=End("db"))
copy_sessions_db_to_cache = partial(copy_sessions, source=End("db"), dest=End("cache"))
copy_sessions_db_to_db = copy_sessions
copy_sessions_cache_to_cache = copy_sessions
