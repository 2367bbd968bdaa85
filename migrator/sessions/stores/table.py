"""Sessions in a table: ``django_session``, django-user-sessions, django-qsessions, or a project's own model.

Rows are read and written by column. No model's save() runs, so that timestamps stay as they were.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.db import SessionStore as DatabaseEngine
from django.db import DatabaseError, IntegrityError, router
from django.db.models import AutoField

from ...clock import MICROSECONDS_PER_SECOND, now
from ...stores.base import WHOLE, Record, RecordProblem, Share
from ...stores.table import open_table
from ...stores.table.base import KeyedTable
from ...stores.table.layout import KeyedRow
from ...stores.table.reading import LATEST
from ..codec import Data, same_text
from ..engines import engine_model
from ..table_layouts import ModelColumn, SessionLayout
from .base import BaseSessionStore
from .column_defaults import BY_DATABASE, bare_row, is_stamped_once, user_of, value_for
from .column_limits import misfit

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase

    from .cache import CacheStore

# The keys under which django-qsessions stores them in the data itself.
_IN_DATA = {"ip": "_qsessions_ip", "user_agent": "_qsessions_user_agent"}
Roles = frozenset[str]
_NONE: Roles = frozenset()
BEYOND = "sessions that expire after the year 9999; they now expire at its end"
NO_USER = "sessions whose user is not in the destination; their user column was left empty"
SHORTENED = "user agents truncated to the length of the column"


class SessionTableStore(BaseSessionStore):
    """The sessions of one table. ``front_cache`` is the cache in front of it if the engine is a ``cached_db``.

    With ``is_there`` the database is not asked whether the table exists.
    """

    has_size_limit = True

    def __init__(
        self,
        *,
        alias: str | None,
        described: SessionLayout,
        engine: SessionBase,
        keys_from: Path | None = None,
        front_cache: CacheStore | None = None,
        is_there: bool = False,
    ) -> None:
        super().__init__(engine=engine, keys_from=keys_from)
        if alias is None and described.model is not None:
            alias = router.db_for_write(described.model)
        self.described = described
        self.roles = described.roles
        self._columns = described.columns
        self.front_cache = front_cache
        self._table = open_table(alias=alias, layout=described.layout, is_there=is_there)
        self._narrow: dict[Roles, KeyedTable] = {}
        self.alias = self._table.alias
        more = tuple(column.at(self._table.connection) for column in self._columns)
        self._table.layout = replace(self._table.layout, more=more)

    @property
    def can_open_again(self) -> bool:
        return self._table.can_open_again

    def close(self) -> None:
        if self.front_cache:
            self.front_cache.close()

    # What it is

    def label(self) -> str:
        front = " with the cache in front of it" if self.front_cache else ""
        return f"database {self.alias!r} ({self._table.address()}){front}"

    def identities(self) -> frozenset[str]:
        return frozenset({self._table.identity()})

    def databases(self) -> frozenset[str]:
        return frozenset({self.alias}) | (self.front_cache.databases() if self.front_cache else frozenset())

    def spare_front_cache(self, source: BaseSessionStore) -> None:
        """Leave the cache in front of the table unchanged if it is the source of the copy."""
        if self.front_cache and self.front_cache.identities() & source.identities():
            self.front_cache = None

    def demand_all(self) -> None:
        self._table.demands_all = True
        if self.front_cache:
            self.front_cache.demand_all()

    def blind_spot(self) -> str | None:
        return self._table.blind_spot() or (self.front_cache.blind_spot() if self.front_cache else None)

    def count(self) -> int | None:
        return super().count() if self._keys_from else self._table.count()

    def notes(self) -> list[str]:
        return self.front_cache.notes() if self.front_cache else []

    # Sessions

    def keys(self, size: int, share: Share = WHOLE) -> Iterator[list[str]]:
        if self._keys_from:
            return self.given_keys(size, share)
        return self._table.keys(size, share=share)

    def pages(self, size: int, share: Share = WHOLE) -> Iterator[list[Record]]:
        if self._keys_from:
            for keys in self.given_keys(size, share):
                yield list(self.fetch(keys).values())
            return
        for rows in self._table.pages(size, share=share):
            yield [self._session(row) for row in rows]

    def fetch(self, keys: Sequence[str]) -> dict[str, Record]:
        return {key: self._session(row) for key, row in self._table.fetch(keys).items()}

    def are_as_seen(self, sessions: Sequence[Record]) -> bool:
        rows = [KeyedRow(session.key, str(session.raw), session.expires or 0) for session in sessions]
        return self._table.are_as_seen(rows)

    def present(self, keys: Sequence[str]) -> set[str]:
        return self._table.present(keys)

    def _session(self, row: KeyedRow) -> Record:
        if not self._columns:
            return Record(row.key, row.value, row.expires)
        more = {column.role: cell for column, cell in zip(self._columns, row.more, strict=True)}
        return Record(row.key, row.value, row.expires, more)

    def add(self, sessions: Sequence[Record]) -> set[str]:
        moment = now()
        if beyond := sum((session.expires or 0) > LATEST for session in sessions):
            self.losses[BEYOND] += beyond
        live = [session for session in sessions if session.expires is not None and session.expires > moment]
        if not live:
            return set()
        written: set[str] = set()
        for left_out, group in self._by_left_out(self._with_users(live)):
            table, rows = self._table_without(left_out), [self._row(session, left_out) for session in group]
            if len(rows) == 1:
                written |= {rows[0].key} if table.insert(rows[0]) else set()
            else:
                written |= table.add(rows)
        return self._uncached(written)

    def _by_left_out(self, sessions: Sequence[Record]) -> list[tuple[Roles, list[Record]]]:
        """Return the sessions in groups, each with the columns that are left to the database."""
        if not self._columns:
            return [(_NONE, list(sessions))]
        groups: dict[Roles, list[Record]] = {}
        for session in sessions:
            groups.setdefault(self._left_out(session), []).append(session)
        return list(groups.items())

    def _left_out(self, session: Record) -> Roles:
        # A session without ``more`` is not a new row, but a row as it was seen.
        return _NONE if session.more is None else self.roles.difference(session.more)

    def _table_without(self, roles: Roles) -> KeyedTable:
        if not roles:
            return self._table
        if roles not in self._narrow:
            whole = self._table.layout
            more = [
                spelled for column, spelled in zip(self._columns, whole.more, strict=True) if column.role not in roles
            ]
            layout = replace(whole, more=tuple(more))
            narrow = self._narrow[roles] = type(self._table)(self.alias, self._table.connection, layout)
            narrow.demands_all = self._table.demands_all
        return self._narrow[roles]

    def update(self, session: Record) -> bool:
        known = session.more or {}
        # Only the row itself knows when its session began.
        more = {
            column.column.name
            for column in self._columns
            if not is_stamped_once(column) and known.get(column.role) is not None
        }
        try:
            changed = self._table.update(self._row(session), more=more)
        except IntegrityError:  # the user is not in this database
            (session,) = self._with_users([session])
            changed = self._table.update(self._row(session), more=more)
        return bool(self._uncached({session.key} if changed else set()))

    def replace(self, pairs: Sequence[tuple[Record, Record]]) -> set[str]:
        by_key = {seen.key: seen for seen, _ in pairs}
        once = frozenset(column.role for column in self._columns if is_stamped_once(column))
        changed: set[str] = set()
        for left_out, group in self._by_left_out(self._with_users([new for _, new in pairs])):
            kept = left_out | once
            rows = [(self._row(by_key[new.key], kept), self._row(new, kept)) for new in group]
            changed |= self._table_without(kept).replace(rows)
        return self._uncached(changed)

    def discard(self, sessions: Sequence[Record]) -> set[str]:
        return self._uncached(self._table.discard([self._row(session) for session in sessions]))

    def uncache(self, keys: Sequence[str]) -> None:
        self._uncached(set(keys))

    def discard_expired(self, size: int) -> int:
        return len(self._uncached(self._table.delete_expired(size)))

    def _uncached(self, changed: set[str]) -> set[str]:
        if changed and self.front_cache:
            # The engine would return what the cache holds of a key instead of the row.
            self.front_cache.delete(list(changed))
        return changed

    def _row(self, session: Record, left_out: Roles = frozenset()) -> KeyedRow:
        more: tuple[Any, ...] = ()
        if self._columns:
            known = session.more or {}
            columns = [column for column in self._columns if column.role not in left_out]
            more = tuple(self._cell(column, known.get(column.role)) for column in columns)
        return KeyedRow(session.key, str(session.raw), min(session.expires or 0, LATEST), more)

    def rounded(self, expires: int | None) -> int | None:
        return None if expires is None else min(expires, LATEST)

    def _cell(self, column: ModelColumn, value: Any) -> Any:
        longest = column.max_length if column.role == "user_agent" else None
        if longest and isinstance(value, str) and len(value) > longest:
            self.losses[SHORTENED] += 1
            return value[:longest]
        if isinstance(value, dt.datetime) and column.column.is_moment:  # returned by an engine or a default
            return self._table.microseconds(value)
        return value

    def _with_users(self, sessions: Sequence[Record]) -> Sequence[Record]:
        """Return the sessions without users that this database does not have: the foreign key would reject the page."""
        if not any(column.is_key_of_user for column in self._columns):
            return sessions
        wanted = {session.more["user"] for session in sessions if session.more and session.more.get("user") is not None}
        absent = wanted - self._users(wanted)
        if not absent:
            return sessions
        kept = []
        for session in sessions:
            if session.more and session.more.get("user") in absent:
                self.losses[NO_USER] += 1
                session = session._replace(more={**session.more, "user": None})
            kept.append(session)
        return kept

    def _users(self, keys: set[Any]) -> set[Any]:
        users = get_user_model()._base_manager.using(self.alias)
        try:
            return set(users.filter(pk__in=keys).values_list("pk", flat=True))
        except DatabaseError:
            return keys  # a database without users has no foreign key to them

    # Payloads

    def remember(self, data: Data, session: Record, saved: int) -> dict[str, Any] | None:
        if not self._columns:
            return None
        known = dict(session.more or {})
        row = None if known.keys() >= self.roles else self._new_row(session, data)
        found = {column.role: self._known(column, known, row, data, saved) for column in self._columns}
        return {role: value for role, value in found.items() if value is not BY_DATABASE}

    def _new_row(self, session: Record, data: Data) -> Any:
        """Return the unsaved row that the engine would save for a session; None if the model is not installed."""
        if self._engine_fills:
            engine: Any = type(self.engine)(session.key)
            engine._session_cache = data  # so that nothing is loaded
            return engine.create_model_instance(data)
        if self.described.model is None:
            return None
        users = {column.own.attname: user_of(data) for column in self._columns if column.own and column.role == "user"}
        return bare_row(self.described.model, self.alias, session_key=session.key, **users)

    @property
    def _engine_fills(self) -> bool:
        """Whether the project's engine fills columns of its own in ``create_model_instance``."""
        own = getattr(type(self.engine), "create_model_instance", None)
        is_ours = engine_model(type(self.engine)) is self.described.model
        return is_ours and own is not None and own is not DatabaseEngine.create_model_instance

    def _known(self, column: ModelColumn, known: Any, row: Any, data: Data, saved: int) -> Any:
        role = column.role
        if isinstance(column.own, AutoField):  # the database's next number could be one that was copied
            return BY_DATABASE
        if role in known:
            return known[role]
        if role == "user":
            return user_of(data)
        if role in _IN_DATA:
            return data.get(_IN_DATA[role])
        if role == "updated":
            return saved * MICROSECONDS_PER_SECOND
        return None if row is None else self._made(column, row)

    def _made(self, column: ModelColumn, row: Any) -> Any:
        try:
            return value_for(column, row)
        except Exception as error:  # of the project's own pre_save()
            name = column.column.name
            raise RecordProblem("unfit", f"its {name} cannot be determined ({type(error).__name__})") from None

    def refusal(self) -> str | None:
        """Return why nothing can be written: hidden users, or columns without NULL and default of unknown values."""
        # A user who cannot be seen would be treated as one who does not exist.
        if "user" in self.roles and (reason := self._table.blind_spot(get_user_model()._meta.db_table)):
            return reason
        if self._engine_fills:
            return None
        row = None if self.described.model is None else bare_row(self.described.model, self.alias)
        unknown = [
            column.column.name
            for column in self._columns
            if not column.takes_null
            and column.role.startswith("column ")
            and (row is None or self._is_unknown(column, row))
        ]
        if unknown:
            return f"its columns {', '.join(unknown)} take no NULL and have no default, and their values are not known"
        return None

    def _is_unknown(self, column: ModelColumn, row: Any) -> bool:
        try:
            return self._made(column, row) is None
        except RecordProblem:  # it may need the session's user, and is asked again for each session
            return False

    def fits(self, session: Record) -> str | None:
        longest = self.described.longest_key
        if longest and self._table.limits_lengths and len(session.key) > longest:
            return f"its key is longer than the table allows ({longest} characters)"
        known, left_out = session.more or {}, self._left_out(session)
        for column, spelled in zip(self._columns, self._table.layout.more, strict=True):
            if column.role in left_out:
                continue
            if problem := misfit(column, known.get(column.role), spelled.dump, self._table):
                return problem
        return None

    def takes_verbatim(self, other: BaseSessionStore) -> bool:
        return other.keeps_text and same_text(self.engine, other.engine)
