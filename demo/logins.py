"""Check the sessions with Django and redis only, independently of the commands that the demo shows."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.backends.cache import SessionStore as CacheStore
from django.contrib.sessions.backends.db import SessionStore as TableStore
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.db import transaction
from django.test import Client, override_settings

from .facts import Fact
from .files import LOGINS, OLD
from .sessions import REDIS, REDIS_2
from .urls import ANONYMOUS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from redis import Redis

    from .sessions import Data

SAMPLE = 500
TOLERANCE = 1_000  # milliseconds, with a Redis that does not know PEXPIRETIME
CART = [{"product": 7, "quantity": 2}, {"product": 11, "quantity": 1}]
ENGINES = {
    REDIS: {"SESSION_ENGINE": "django.contrib.sessions.backends.cache", "SESSION_CACHE_ALIAS": REDIS},
    LOGINS: {"SESSION_ENGINE": "django.contrib.sessions.backends.db"},
    REDIS_2: {"SESSION_ENGINE": "django.contrib.sessions.backends.cache", "SESSION_CACHE_ALIAS": REDIS_2},
}
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MILLISECOND = dt.timedelta(milliseconds=1)


class Visitor:
    """A user with a browser: the cookie stays the same, whichever store the shop uses for its sessions."""

    def __init__(self, user: User) -> None:
        """Log in while the shop's sessions are in the first Redis, and add items to the cart."""
        with override_settings(**ENGINES[REDIS]):
            client = Client()
            with transaction.atomic(using=OLD):
                client.force_login(user)
                transaction.set_rollback(True, using=OLD)  # keeps the session and not last_login
            session = client.session
            session["cart"] = CART
            session.save()
        self.name = user.get_username()
        self.cookie = client.cookies[settings.SESSION_COOKIE_NAME].value

    def sees(self, store: str) -> str:
        """Return the shop's page with its sessions in ``store``, as after a restart with those settings."""
        with override_settings(**ENGINES[store]):
            client = Client(SERVER_NAME="shop.example")
            client.cookies[settings.SESSION_COOKIE_NAME] = self.cookie
            return client.get("/").content.decode()


def visitors() -> tuple[Visitor, Visitor]:
    """Log two users in."""
    one, other = User.objects.using(OLD).filter(is_active=True).order_by("pk")[1:3]
    return Visitor(one), Visitor(other)


class SessionCheck:
    """Compares the sessions in the three stores."""

    def __init__(self, client: Redis, client_2: Redis, *, exact: bool) -> None:
        self._client = client
        self._client_2 = client_2
        self._exact = exact

    def facts(self, keys: list[str], ended: list[str], staying: Visitor, leaving: Visitor) -> Iterator[Fact]:
        gone = set(ended)
        live = [key for key in keys if key not in gone]
        yield same_login(staying)
        yield same_data(live)
        yield self._same_expiries(live[:: max(1, len(live) // SAMPLE)])
        yield still_ended(ended, leaving)

    def _same_expiries(self, sample: list[str]) -> Fact:
        first = _expiries_in_cache(self._client, REDIS, sample)
        rows = Session.objects.using(LOGINS).filter(session_key__in=sample).values_list("session_key", "expire_date")
        table = {key: (moment - EPOCH) // MILLISECOND for key, moment in rows}
        second = _expiries_in_cache(self._client_2, REDIS_2, sample)
        differing = sum(not self._agree(first.get(key), table.get(key), second.get(key)) for key in sample)
        if differing:
            return Fact(f"{differing:,} of {len(sample):,} sessions have another expiry.", holds=False)
        if self._exact:
            return Fact(
                f"A sample of {len(sample):,} has the same expiry in all three, to the millisecond.", holds=True
            )
        early = max((first[key] - table[key] for key in sample), default=0)
        return Fact(
            f"Of {len(sample):,}, none expires later, none over {early} ms earlier (exact from Redis 7).",
            holds=True,
        )

    def _agree(self, first: int | None, table: int | None, second: int | None) -> bool:
        if first is None or table is None or second is None:
            return False
        return table == second and 0 <= first - table <= (0 if self._exact else TOLERANCE)


def same_login(visitor: Visitor) -> Fact:
    expected = f"{visitor.name} {len(CART)}"
    found = {store: visitor.sees(store) for store in ENGINES}
    if set(found.values()) != {expected}:
        return Fact(f"One cookie should show {expected!r} everywhere, and shows {found}.", holds=False)
    return Fact(
        f"One cookie logs {visitor.name} in, with the cart, on each of the three stores.",
        holds=True,
    )


def same_data(keys: list[str]) -> Fact:
    found = [digest(_in_cache(REDIS, keys)), digest(_in_table(keys)), digest(_in_cache(REDIS_2, keys))]
    counts = [rows for rows, _ in found]
    if set(counts) != {len(keys)} or len(set(found)) != 1:
        return Fact(f"Of {len(keys):,} sessions, {counts} were found, and they differ.", holds=False)
    return Fact(f"{len(keys):,} live sessions have the same data in all three: {found[0][1]}.", holds=True)


def digest(sessions: Mapping[str, Data]) -> tuple[int, str]:
    """Return the number of sessions and a short digest of all their data."""
    text = json.dumps(sorted(sessions.items()), sort_keys=True)
    return len(sessions), hashlib.sha256(text.encode()).hexdigest()[:16]


def still_ended(keys: list[str], visitor: Visitor) -> Fact:
    revived = len(_in_cache(REDIS_2, keys))
    seen = {visitor.sees(store) for store in (LOGINS, REDIS_2)}
    if revived or seen != {f"{ANONYMOUS} 0"}:
        return Fact(f"{revived:,} of {len(keys):,} sessions that had ended are back; one shows {seen}.", holds=False)
    return Fact(
        f"None of the {len(keys):,} ended sessions was revived; {visitor.name} has to log in again.", holds=True
    )


def _in_cache(alias: str, keys: list[str]) -> dict[str, Data]:
    prefix = CacheStore.cache_key_prefix
    found = caches[alias].get_many([prefix + key for key in keys])
    return {key.removeprefix(prefix): data for key, data in found.items()}


def _in_table(keys: list[str]) -> dict[str, Data]:
    decode, wanted = TableStore().decode, set(keys)
    rows = Session.objects.using(LOGINS).values_list("session_key", "session_data").iterator()
    return {key: decode(text) for key, text in rows if key in wanted}


def _expiries_in_cache(client: Redis, alias: str, keys: list[str]) -> dict[str, int]:
    """Return the expiry of keys, in milliseconds of Unix time.

    A Redis before 7 reports only the remaining time, so its clock is read before and after, until both are equal.
    """
    expiries: dict[str, int] = {}
    gone: set[str] = set()
    waiting = keys
    while waiting:
        with client.pipeline(transaction=True) as pipeline:
            for key in waiting:
                pipeline.time()
                pipeline.pttl(caches[alias].make_key(CacheStore.cache_key_prefix + key))
                pipeline.time()
            answers = pipeline.execute()
        for key, before, left, after in zip(waiting, answers[::3], answers[1::3], answers[2::3], strict=True):
            if left < 0:
                gone.add(key)  # or it has no expiry
            elif _milliseconds(before) == _milliseconds(after):
                expiries[key] = _milliseconds(before) + left
        waiting = [key for key in waiting if key not in expiries and key not in gone]
    return expiries


def _milliseconds(answer: tuple[int, int]) -> int:
    seconds, microseconds = answer
    return seconds * 1_000 + microseconds // 1_000
