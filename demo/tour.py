"""The tour: make the old database, move it with the real commands, and look at what arrived; then the sessions."""

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
    ("the move once more: see how the rows that are there now are protected", ("batch_migrate", *BETWEEN)),
    ("the same, with leave to replace them", ("batch_migrate", *BETWEEN, "--replace", NEW)),
    ("the counts again, for a program", ("verify_counts", *BETWEEN, "--format", "json")),
)


class Tour:
    """Walk through both parts: the shop from one database to another, and its sessions where there is a Redis."""

    def __init__(
        self, *, orders: int, sessions: int, elsewhere: bool, redis: PrivateRedis | None, why_no_redis: str
    ) -> None:
        self._orders = orders
        self._sessions = sessions
        self._elsewhere = elsewhere
        self._redis = redis
        self._why_no_redis = why_no_redis
        self._guide = Guide(SHOP_STEPS + (SESSION_STEPS if redis else 0))
        self._style = self._guide.style
        self._started = time.monotonic()

    def run(self) -> bool:
        """Walk all steps; tell whether everything arrived."""
        self._introduce()
        all_well = self._move_the_shop()
        if self._redis:
            all_well &= self._move_the_sessions(self._redis)
        self._part(all_well=all_well)
        return all_well

    def _introduce(self) -> None:
        rows = sum(planned_rows(self._orders).values())
        files = [(OLD, file_of(OLD)), (NEW, file_of(NEW)), ("report", report_file())]
        print(self._style.MIGRATE_HEADING("A shop moves to a new database"))
        print(f"A small web shop of about {rows:,} rows is made in one SQLite file and moved to another by")
        print("the real commands; then the demo compares the two by itself.")
        if self._redis:
            files.append((LOGINS, file_of(LOGINS)))
            print(f"Then {self._sessions:,} sessions move from a Redis to a database and on to a second cache. That")
            name = f"{self._redis.name} {self._redis.version}"
            print(f"{name} is the demo's own: no other is touched, and it stops at the end.")
        print("The demo writes only these files:")
        for name, file in files:
            print(f"  {name:<8} {shown(file)}")
        if self._why_no_redis:
            print(f"The part about sessions is left out: {self._why_no_redis}.")

    def _move_the_shop(self) -> bool:
        guide = self._guide
        guide.announce("Make the old database")
        self._make_the_old_database()
        guide.announce("Plan the move: nothing is written yet")
        guide.command("batch_migrate", *BETWEEN, "--migrate", "--dry-run")
        guide.announce("Move everything")
        report = shown(report_file())
        guide.command_with_its_end("batch_migrate", *BETWEEN, "--migrate", "--no-input", "--report", report)
        print(f"The tables of this run are left out here; they are in {report}.")
        guide.announce("Count both sides")
        guide.command("verify_counts", *BETWEEN)
        guide.announce("Look at what arrived, without those commands")
        return guide.tell(facts(OLD, NEW))

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

        from .logins import TOLERANCE, Look, visitors
        from .sessions import REDIS, REDIS_2, end_some, fill_redis, use_redis

        guide = self._guide
        fully = (
            ["--mode", "full"] if redis.tells_ends else ["--mode", "full", "--ttl-tolerance", f"{TOLERANCE / 1_000:g}"]
        )
        use_redis(redis)
        with Redis.from_url(redis.url(0)) as client, Redis.from_url(redis.url(1)) as client_2:
            guide.announce("Fill a Redis with sessions, and log two people in")
            guide.show("migrate", "sessions", "--database", LOGINS)
            call_command("migrate", "sessions", "--database", LOGINS, verbosity=0)
            started = time.monotonic()
            keys = fill_redis(client, self._sessions)
            staying, leaving = visitors()
            print(f"{client.dbsize():,} sessions by Django's own cache backend ({time.monotonic() - started:.1f} s):")
            print("most are logged in, and each ends at a millisecond of its own within two weeks.")

            guide.announce("Move the sessions to a database, and compare")
            guide.command("copy_sessions_cache_to_db", "--source", REDIS, "--dest", LOGINS, "--no-input")
            print()
            guide.command("verify_sessions", "--source", f"cache:{REDIS}", "--dest", f"db:{LOGINS}", *fully)

            guide.announce("Move them on to a second cache, and compare")
            ended = end_some(keys, leaving.cookie)
            print(f"Meanwhile {len(ended):,} of them end: their rows stay, as they do until somebody clears them.")
            guide.command("copy_sessions_db_to_cache", "--source", LOGINS, "--dest", REDIS_2, "--no-input")
            print()
            guide.command("verify_sessions", "--source", f"db:{LOGINS}", "--dest", f"cache:{REDIS_2}", *fully)

            guide.announce("Look at the sessions, without those commands")
            return guide.tell(Look(client, client_2, exact=redis.tells_ends).facts(keys, ended, staying, leaving))

    def _part(self, *, all_well: bool) -> None:
        seconds = time.monotonic() - self._started
        if not all_well:
            print("\n" + self._style.ERROR("Something did not arrive as it was.") + f" ({seconds:.1f} s)")
            return
        print("\n" + self._style.SUCCESS("Everything arrived.") + f" ({seconds:.1f} s)")
        if self._elsewhere:
            return  # manage.py looks in the usual place, where this run's files are not
        print("\nTry next:")
        for purpose, words in NEXT:
            print(f"  {self._style.MIGRATE_LABEL(typed(words))}\n      {purpose}")
