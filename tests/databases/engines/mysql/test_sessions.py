"""What MySQL and MariaDB say of their sessions."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections

from migrator.databases.engines.mysql.engine import MySQL
from tests.databases.side_by_side import until

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases


@pytest.mark.mysql
def test_sessions_are_seen_while_one_executes_a_statement_with_binary_values(databases: FreshDatabases) -> None:
    """MySQL's older list of them also has each session's statement, as a text, and fails if it is not one."""
    databases.fresh("mysql_a")
    other: Any = connections["mysql_a"].copy()
    other.inc_thread_sharing()
    with closing(other), closing(MySQL(connections["mysql_a"])) as engine:
        other.ensure_connection()
        number = other.connection.thread_id()
        sleeping = threading.Thread(target=other.connection.query, args=(b"SELECT SLEEP(1), _binary'\xff\x80'",))
        sleeping.start()
        is_executing = f"SELECT 1 FROM {engine._process_list} WHERE id = {number} AND command = 'Query'"
        until(lambda: engine.fetch_all(is_executing))
        assert engine.session_identity() is not None
        assert any(f"session {number} of" in blocker for blocker in engine.blockers())
        sleeping.join()
