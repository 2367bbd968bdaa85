"""The tour: create the old database, move it with the real commands, and check the result; then the sessions."""

from __future__ import annotations

import textwrap
import time
from typing import TYPE_CHECKING

from django.core.management import call_command

from .data import fill
from .facts import contents, facts, fingerprint
from .files import LOGINS, NEW, OLD, file_of, shown
from .guide import Guide

if TYPE_CHECKING:
    from .server import PrivateRedis

WIDTH = 80
BETWEEN = ("--source", OLD, "--dest", NEW)
NEXT = """In your own project, here to PostgreSQL:
  pip install "django-bulk-migrator[postgresql,redis]"
  settings.py: INSTALLED_APPS += ["migrator"]; DATABASES["new"] = {...}
  python manage.py migrator_doctor --source default --dest new
  python manage.py batch_migrate --source default --dest new --migrate
  python manage.py verify_counts --source default --dest new --mode full
  python manage.py batch_migrate --source default --dest new --update
Ten minutes with a new project: docs/tutorial/sqlite-to-postgresql.md"""


class Tour:
    """Runs both parts: the shop from one database to another, and its sessions if a Redis is available."""

    def __init__(self, *, orders: int, sessions: int, redis: PrivateRedis | None, why_no_redis: str) -> None:
        self._orders = orders
        self._sessions = sessions
        self._redis = redis
        self._why_no_redis = why_no_redis
        self._guide = Guide()
        self._style = self._guide.style
        self._started = time.monotonic()

    def run(self) -> bool:
        """Run all steps; return whether everything arrived."""
        self._introduce()
        all_hold = self._move_the_shop()
        if self._redis:
            all_hold &= self._move_the_sessions(self._redis)
        self._finish(all_hold=all_hold)
        return all_hold

    def _introduce(self) -> None:
        self._head("A shop moves from one SQLite file to another, and its sessions to other stores")
        print(f"The demo writes only to {shown(file_of(NEW).parent)}, where *.txt have the commands' full output.")
        if self._redis:
            print(f"{self._redis.name} {self._redis.version} is the demo's own; no other server is used.")
        if self._why_no_redis:
            reason = f"The part about sessions is skipped: {self._why_no_redis.rstrip('.')}."
            print(textwrap.fill(reason, WIDTH, break_long_words=False, break_on_hyphens=False))

    def _head(self, title: str) -> None:
        print(self._style.MIGRATE_HEADING(title), flush=True)

    def _move_the_shop(self) -> bool:
        guide = self._guide
        self._make_the_old_database()
        move = ("batch_migrate", *BETWEEN, "--migrate")
        guide.command("plan", *move, "--dry-run", named=("PLAN", "largest", "estimate", "not checked"))
        guide.command("move", *move, "--noinput", named=("copied", "row counts", "keys", "rejected"))
        guide.command("compare", "verify_counts", *BETWEEN, "--mode", "full", named=("row counts", "values", "keys"))
        self._head("The demo compares both files itself, without those commands")
        return guide.report(facts(OLD, NEW))

    def _make_the_old_database(self) -> None:
        started = time.monotonic()
        call_command("migrate", "--database", OLD, verbosity=0)
        fill(OLD, orders=self._orders)
        seconds = time.monotonic() - started
        found = contents(OLD)
        rows = sum(content.rows for content in found.values())
        print(f"Made a shop of {rows:,} rows in {len(found)} tables: {fingerprint(found)} ({seconds:.1f} s).\n")

    def _move_the_sessions(self, redis: PrivateRedis) -> bool:
        from redis import Redis

        from .logins import TOLERANCE, SessionCheck, visitors
        from .sessions import REDIS, REDIS_2, end_some, fill_redis, use_redis

        guide = self._guide
        full: tuple[str, ...] = ("--mode", "full")
        if not redis.knows_expiry:
            full = (*full, "--ttl-tolerance", f"{TOLERANCE / 1_000:g}")
        use_redis(redis)
        with Redis.from_url(redis.url(0)) as client, Redis.from_url(redis.url(1)) as client_2:
            call_command("migrate", "sessions", "--database", LOGINS, verbosity=0)
            keys = fill_redis(client, self._sessions)
            staying, leaving = visitors()
            print()
            self._head(f"{client.dbsize():,} sessions move from a Redis to a database and on to a second cache")

            def copied(command: str, source: str, dest: str) -> None:
                guide.verdict(command, command, "--source", source, "--dest", dest, "--no-input", label=command)

            def compared(log: str, source: str, dest: str) -> None:
                words = ("verify_sessions", "--source", source, "--dest", dest, *full)
                guide.verdict(log, *words, label="verify_sessions --mode full")

            copied("copy_sessions_cache_to_db", REDIS, LOGINS)
            compared("verify_sessions_db", f"cache:{REDIS}", f"db:{LOGINS}")
            ended = end_some(keys, leaving.cookie)
            print(f"  ({len(ended):,} of them expire; clearsessions has not removed them yet)")
            copied("copy_sessions_db_to_cache", LOGINS, REDIS_2)
            compared("verify_sessions_cache", f"db:{LOGINS}", f"cache:{REDIS_2}")
            return guide.report(
                SessionCheck(client, client_2, exact=redis.knows_expiry).facts(keys, ended, staying, leaving)
            )

    def _finish(self, *, all_hold: bool) -> None:
        seconds = time.monotonic() - self._started
        if not all_hold:
            print("\n" + self._style.ERROR("Something did not arrive unchanged.") + f" ({seconds:.1f} s)")
            return
        print("\n" + self._style.SUCCESS("Everything arrived.") + f" ({seconds:.1f} s)\n\n{NEXT}")
