"""One of the two stores of a transition as the settings describe it: its engine, table, cache and databases."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.contrib.sessions.backends.cache import SessionStore as CacheEngine
from django.core.cache import caches
from django.core.cache.backends.db import BaseDatabaseCache
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router, transaction
from django.utils.functional import cached_property
from django.utils.module_loading import import_string

from ...conf import SessionSide
from ...errors import MigratorError
from ..engines import (
    TRANSITION,
    cache_alias,
    cache_prefix,
    engine_class,
    engine_model,
    keeps_elsewhere,
    keeps_files,
    keeps_rows,
    makes_stock_keys,
)
from ..records import End
from ..stores.custom_values import check_key, check_text, own_values
from ..table_layouts import session_layout
from .bound_engines import bound_engine


class ConfiguredSide:
    """OLD or NEW by its settings. No server is asked."""

    def __init__(self, name: str, setting: SessionSide) -> None:
        """Import the engine and check it; raise :exc:`ImproperlyConfigured` for what no transition can use."""
        self.name, self.setting = name, setting
        where = f"MIGRATOR['SESSIONS']['{name}']"
        if setting.ENGINE == TRANSITION:
            raise ImproperlyConfigured(f"{where}['ENGINE'] is the transition engine itself.")
        try:
            engine = engine_class(setting.ENGINE)
            self._check_aliases(engine)
            self.engine = bound_engine(engine, database=setting.DATABASE, cache=setting.CACHE)
            self._own_values = own_values(engine)
            check_text(engine)
            check_key(engine)
            if keeps_rows(engine):
                session_layout(engine_model(engine)._meta.label)  # which refuses columns that do not hold text
        except (MigratorError, ImproperlyConfigured) as error:
            raise ImproperlyConfigured(f"{where}: {error}") from error
        self._cache_alias = setting.CACHE or cache_alias(engine)
        self._takes = [name for name in ("user_agent", "ip") if name in inspect.signature(engine.__init__).parameters]
        self.keeps_rows = keeps_rows(engine)
        self._keeps_files = keeps_files(engine)
        # Whether only the engine knows where its sessions are.
        self.is_elsewhere = keeps_elsewhere(engine)
        if self.is_elsewhere and name == "NEW":
            raise ImproperlyConfigured(
                f"{where}: {setting.ENGINE} does not keep its sessions in a cache of CACHES, a table or files, so "
                "sessions cannot be moved there with their expiry. It can only be OLD."
            )
        # Django's own save() of a cache overwrites a key in two steps, between which the session may be deleted.
        self._is_plain_cache = not self.keeps_rows and engine.save is CacheEngine.save
        self.makes_stock_keys = makes_stock_keys(engine)

    def _check_aliases(self, engine: Any) -> None:
        """Raise :exc:`ImproperlyConfigured` for an alias that is not in DATABASES or CACHES."""
        given = self.setting
        if given.DATABASE is not None and given.DATABASE not in connections:
            raise ImproperlyConfigured(f"DATABASE is {given.DATABASE!r}, which is not in DATABASES.")
        alias = given.CACHE or cache_alias(engine)
        if getattr(engine, "cache_key_prefix", None) is not None and alias not in caches.settings:
            name = "CACHE" if given.CACHE else "it has no CACHE, and SESSION_CACHE_ALIAS"
            raise ImproperlyConfigured(f"{name} is {alias!r}, which is not in CACHES.")

    # What it is

    @property
    def database(self) -> str | None:
        """The alias of the database that its rows are written to, None for a side without a table."""
        if not self.keeps_rows:
            return None
        return self.setting.DATABASE or router.db_for_write(self.model)

    @property
    def model(self) -> Any:
        """The model of its rows, None for a side without a table."""
        return engine_model(self.engine) if self.keeps_rows else None

    @property
    def cache(self) -> str | None:
        """The alias of its cache, which may be the one before its table; None for a side without a cache."""
        if cache_prefix(self.engine) is None:
            return None
        return self._cache_alias

    @property
    def end(self) -> End:
        """The side as an end of a copy or of a verification."""
        if self.keeps_rows:
            label = self.model._meta.label
            return End("db", self.database, self.setting.ENGINE, label, cache=self.cache)
        kind = "file" if self._keeps_files else "engine" if self.is_elsewhere else "cache"
        return End(kind, self.cache, self.setting.ENGINE)

    @property
    def databases(self) -> list[str]:
        """The aliases of the databases that it writes to: that of its rows, and that of a ``DatabaseCache``."""
        found = {self.database} if self.database is not None else set()
        if self._has_database_cache:
            cache: Any = caches[self.cache or ""]
            found.add(router.db_for_write(cache.cache_model_class))
        return sorted(found)

    @cached_property
    def _has_database_cache(self) -> bool:
        if self.cache is None:
            return False
        try:
            return issubclass(import_string(caches.settings[self.cache]["BACKEND"]), BaseDatabaseCache)
        except ImportError:  # which is raised where it is used
            return False

    @property
    def transactions(self) -> list[str]:
        """The aliases of its databases in which a transaction is open, so that a write may be rolled back."""
        return [alias for alias in self.databases if connections[alias].in_atomic_block]

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Keep a failing statement from breaking the open transactions."""
        with ExitStack() as stack:
            for alias in self.transactions:
                stack.enter_context(transaction.atomic(using=alias))
            yield
