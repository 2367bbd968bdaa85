"""The shop's sessions, created in a Redis: the same each time, except that their expiry counts from now."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import VALID_KEY_CHARS
from django.contrib.sessions.backends.cache import SessionStore
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.utils import timezone

from .files import LOGINS, OLD
from .rows.base import dice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models import Model
    from redis import Redis

    from .server import PrivateRedis

REDIS, REDIS_2 = "redis", "redis2"
DEFAULT_SESSIONS = 20_000
BATCH = 2_000
SHORTEST, LONGEST = 30 * 60_000, 14 * 24 * 3_600_000  # milliseconds
ENDED_EVERY = 100

Data = dict[str, Any]


class OwnDatabase:
    """The router that gives sessions a database of their own, in addition to the shop's old and new one."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        return LOGINS if model is Session else None

    db_for_write = db_for_read


def use_redis(redis: PrivateRedis) -> None:
    """Add two databases of one Redis to CACHES, before any cache is opened."""
    for number, alias in enumerate((REDIS, REDIS_2)):
        backend = "django.core.cache.backends.redis.RedisCache"
        settings.CACHES[alias] = {"BACKEND": backend, "LOCATION": redis.url(number)}


def planned_sessions(count: int) -> Iterator[tuple[str, Data]]:
    """Yield session keys and data: most sessions are logged in, all have history, some have a full cart."""
    dealt = dice("sessions")
    users = User.objects.using(OLD).filter(is_active=True).order_by("pk")
    logins = [
        {
            SESSION_KEY: str(user.pk),
            BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend",
            HASH_SESSION_KEY: user.get_session_auth_hash(),
        }
        for user in users
    ]
    for index in range(count):
        key = "".join(dealt.choices(VALID_KEY_CHARS, k=32))
        data: Data = dict(logins[index % len(logins)]) if index % 5 else {}
        data["seen"] = f"Größe {index:,} → ✓"
        if index % 3 == 0:
            data["cart"] = [{"product": dealt.randrange(1, 1_500), "quantity": 1 + place} for place in range(index % 7)]
        yield key, data


def fill_redis(client: Redis, count: int) -> list[str]:
    """Fill the first cache through its own backend, then give each session its own expiry. Return the keys."""
    cache, store = caches[REDIS], SessionStore()
    dealt = dice("ends of sessions")
    sessions = list(planned_sessions(count))
    for start in range(0, count, BATCH):
        batch = {store.cache_key_prefix + key: data for key, data in sessions[start : start + BATCH]}
        cache.set_many(batch, LONGEST // 1_000)
        now = time.time_ns() // 1_000_000
        with client.pipeline(transaction=False) as pipeline:
            for key in batch:
                pipeline.pexpireat(cache.make_key(key), now + dealt.randrange(SHORTEST, LONGEST))
            pipeline.execute()
    return [key for key, _ in sessions]


def end_some(keys: list[str], *others: str) -> list[str]:
    """Set the expiry of every hundredth session, and of the others, to an hour ago in the table; return their keys."""
    ended = [*keys[ENDED_EVERY - 1 :: ENDED_EVERY], *others]
    an_hour_ago = timezone.now() - timedelta(hours=1)
    rows = Session.objects.using(LOGINS)
    for start in range(0, len(ended), 500):  # SQLite before 3.32 accepts 999 parameters (sqlite.org/limits.html)
        rows.filter(session_key__in=ended[start : start + 500]).update(expire_date=an_hour_ago)
    return ended
