"""The tour: create the old database, move it with the real commands, and check the result; then the sessions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from django.core.management import call_command

from .data import fill, planned_rows
from .facts import contents, facts, fingerprint
from .files import LOGINS, NEW, OLD, file_of, report_file, shown
from .guide import Guide, typed

if TYPE_CHECKING:
    from .server import PrivateRedis

BETWEEN = ("--source", OLD, "--dest", NEW)
SHOP_STEPS, SESSION_STEPS = 5, 4
NEXT = (
    ("the move again: see how existing rows are protected", ("batch_migrate", *BETWEEN)),
    ("the same, with permission to replace them", ("batch_migrate", *BETWEEN, "--replace", NEW)),
    ("the row counts again, for a program", ("verify_counts", *BETWEEN, "--format", "json")),
)


class Tour:
    """Runs both parts: the shop from one database to another, and its sessions if a Redis is available."""

    def __init__(
        self, *, orders: int, sessions: int, has_own_directory: bool, redis: PrivateRedis | None, why_no_redis: str
    ) -> None:
        self._orders = orders
        self._sessions = sessions
        self._has_own_directory = has_own_directory
        self._redis = redis
        self._why_no_redis = why_no_redis
        self._guide = Guide(SHOP_STEPS + (SESSION_STEPS if redis else 0))
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
        rows = sum(planned_rows(self._orders).values())
        files = [(OLD, file_of(OLD)), (NEW, file_of(NEW)), ("report", report_file())]
        print(self._style.MIGRATE_HEADING("A shop moves to a new database"))
        print(f"A small web shop of about {rows:,} rows is created in one SQLite file and moved to another by")
        print("the real commands; then the demo compares the two itself.")
        if self._redis:
            files.append((LOGINS, file_of(LOGINS)))
            print(f"Then {self._sessions:,} sessions move from a Redis to a database and on to a second cache. That")
            name = f"{self._redis.name} {self._redis.version}"
            print(f"{name} is the demo's own: no other server is touched, and it stops at the end.")
        print("The demo writes only these files:")
        for name, file in files:
            print(f"  {name:<8} {shown(file)}")
        if self._why_no_redis:
            print(f"The part about sessions is skipped: {self._why_no_redis}.")

    def _move_the_shop(self) -> bool:
        guide = self._guide
        guide.announce("Create the old database")
        self._make_the_old_database()
        guide.announce("Plan the move: nothing is written yet")
        guide.command("batch_migrate", *BETWEEN, "--migrate", "--dry-run")
        guide.announce("Move everything")
        report = shown(report_file())
        guide.command_with_summary("batch_migrate", *BETWEEN, "--migrate", "--no-input", "--report", report)
        print(f"The tables of this run are in {report}.")
        guide.announce("Compare the row counts")
        guide.command("verify_counts", *BETWEEN)
        guide.announce("Check what arrived, without those commands")
        return guide.report(facts(OLD, NEW))

    def _make_the_old_database(self) -> None:
        self._guide.show("migrate", "--database", OLD)
        started = time.monotonic()
        call_command("migrate", "--database", OLD, verbosity=0)
        fill(OLD, orders=self._orders)
        seconds = time.monotonic() - started
        found = contents(OLD)
        rows = sum(content.rows for content in found.values())
        print("Filled with customers, goods, orders, invoices, staff, notes and the admin's log:")
        print(f"{rows:,} rows in {len(found)} tables ({seconds:.1f} s).")
        print(f"The same each time; the fingerprint is {fingerprint(found)}.")

    def _move_the_sessions(self, redis: PrivateRedis) -> bool:
        from redis import Redis

        from .logins import TOLERANCE, SessionCheck, visitors
        from .sessions import REDIS, REDIS_2, end_some, fill_redis, use_redis

        guide = self._guide
        full = (
            ["--mode", "full"]
            if redis.knows_expiry
            else ["--mode", "full", "--ttl-tolerance", f"{TOLERANCE / 1_000:g}"]
        )
        use_redis(redis)
        with Redis.from_url(redis.url(0)) as client, Redis.from_url(redis.url(1)) as client_2:
            guide.announce("Fill a Redis with sessions, and log two users in")
            guide.show("migrate", "sessions", "--database", LOGINS)
            call_command("migrate", "sessions", "--database", LOGINS, verbosity=0)
            started = time.monotonic()
            keys = fill_redis(client, self._sessions)
            staying, leaving = visitors()
            print(f"{client.dbsize():,} sessions by Django's own cache backend ({time.monotonic() - started:.1f} s):")
            print("most are logged in, and each has its own expiry within two weeks.")

            guide.announce("Move the sessions to a database, and compare")
            guide.command("copy_sessions_cache_to_db", "--source", REDIS, "--dest", LOGINS, "--no-input")
            print()
            guide.command("verify_sessions", "--source", f"cache:{REDIS}", "--dest", f"db:{LOGINS}", *full)

            guide.announce("Move them on to a second cache, and compare")
            ended = end_some(keys, leaving.cookie)
            print(f"Meanwhile {len(ended):,} of them end: their rows stay until clearsessions removes them.")
            guide.command("copy_sessions_db_to_cache", "--source", LOGINS, "--dest", REDIS_2, "--no-input")
            print()
            guide.command("verify_sessions", "--source", f"db:{LOGINS}", "--dest", f"cache:{REDIS_2}", *full)

            guide.announce("Check the sessions, without those commands")
            return guide.report(
                SessionCheck(client, client_2, exact=redis.knows_expiry).facts(keys, ended, staying, leaving)
            )

    def _finish(self, *, all_hold: bool) -> None:
        seconds = time.monotonic() - self._started
        if not all_hold:
            print("\n" + self._style.ERROR("Something did not arrive unchanged.") + f" ({seconds:.1f} s)")
            return
        print("\n" + self._style.SUCCESS("Everything arrived.") + f" ({seconds:.1f} s)")
        if self._has_own_directory:
            return  # manage.py uses the default directory, not that of this run
        print("\nTry next:")
        for purpose, words in NEXT:
            print(f"  {self._style.MIGRATE_LABEL(typed(words))}\n      {purpose}")
