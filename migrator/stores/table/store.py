"""Django's ``DatabaseCache``: pickles in base64 in a table, expiry in whole seconds."""

from __future__ import annotations

import datetime as dt
import pickle
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from typing import Any

from django.db import router

from ...clock import from_datetime, now
from ..base import WHOLE, Item, KeyStore, Share, Value
from ..key_space import KeySpace
from . import open_table
from .layout import KeyedRow, Layout
from .reading import NEVER

# As createcachetable makes the column.
LONGEST_KEY = 255
# Anything later than the year 9990 was meant as never, whatever the time zone did to it.
_ALMOST_NEVER = from_datetime(dt.datetime(9990, 1, 1, tzinfo=dt.UTC))


class TableStore(KeyStore):
    """The table of a cache. Reads and writes go where the backend's router sends writes."""

    can_list_keys = True
    has_size_limit = True

    def __init__(self, *, alias: str, cache: Any, trust_pickle: bool) -> None:
        super().__init__(alias=alias, cache=cache, trust_pickle=trust_pickle)
        database = router.db_for_write(cache.cache_model_class)
        layout = Layout(cache._table, "cache_key", "value", "expires", missing_hint="Run createcachetable for it first")
        self._table = open_table(alias=database, layout=layout)

    def address(self) -> str:
        return f"database {self._table.alias!r}: {self._table.address()}"

    def identities(self) -> frozenset[str]:
        return frozenset({self._table.identity()})

    @property
    def database(self) -> str | None:
        return self._table.alias

    def blind_spot(self, space: KeySpace) -> str | None:
        return self._table.blind_spot()

    def demand_all(self) -> None:
        self._table.demands_all = True

    def encoding(self) -> str:
        return "pickle in base64"

    def capacity(self) -> int | None:
        return int(self.cache._max_entries)

    def held(self) -> int:
        # With CULL_FREQUENCY 0 the backend empties a table that is too large by what has expired alone.
        return self._table.count(with_expired=self.cache._cull_frequency == 0)

    def fits(self, space: KeySpace, item: Item) -> str | None:
        if self._table.limits_lengths and len(space.raw(item.key)) > LONGEST_KEY:
            return f"its key is longer than the table's keys may be ({LONGEST_KEY} characters)"
        return None

    def list_keys(self, space: KeySpace, size: int, share: Share = WHOLE) -> Iterator[list[str]]:
        for page in self._table.pages(size, like=space.head):
            keys = (space.key(row.key) for row in page)
            yield [key for key in keys if key is not None and share.holds(key)]

    def fetch(self, space: KeySpace, keys: Sequence[str]) -> dict[str, Item]:
        by_raw = {space.raw(key): key for key in keys}
        return {
            by_raw[raw]: Item(by_raw[raw], row.value.encode(), None if row.expires > _ALMOST_NEVER else row.expires)
            for raw, row in self._table.fetch(list(by_raw)).items()
        }

    def add(self, space: KeySpace, items: Sequence[Item]) -> set[str]:
        moment = now()
        rows = {space.raw(item.key): item for item in items if (self.rounded(item.expires) or NEVER) > moment}
        if len(rows) == 1:
            ((raw, item),) = rows.items()
            return {item.key} if self._table.insert(self._row(raw, item)) else set()
        written = self._table.add([self._row(raw, item) for raw, item in rows.items()]) if rows else set()
        return {rows[raw].key for raw in written}

    def update(self, space: KeySpace, item: Item) -> bool:
        return self._table.update(self._row(space.raw(item.key), item))

    def replace(self, space: KeySpace, pairs: Sequence[tuple[Item, Item]]) -> set[str]:
        keys = {space.raw(seen.key): seen.key for seen, _ in pairs}
        rows = [tuple(self._row(space.raw(seen.key), item) for item in (seen, new)) for seen, new in pairs]
        return {keys[raw] for raw in self._table.replace([(seen, new) for seen, new in rows])}

    def discard(self, space: KeySpace, items: Sequence[Item]) -> set[str]:
        keys = {space.raw(seen.key): seen.key for seen in items}
        return {keys[raw] for raw in self._table.discard([self._row(space.raw(seen.key), seen) for seen in items])}

    def _row(self, raw: str, item: Item) -> KeyedRow:
        expires = self.rounded(item.expires)
        return KeyedRow(raw, item.raw.decode("ascii"), NEVER if expires is None else expires)

    def rounded(self, expires: int | None) -> int | None:
        return None if expires is None else min(super().rounded(expires) or 0, NEVER)

    def same_expiry(self, one: int | None, other: int | None) -> bool:
        # What is never to the backend has no time to live, however it was said.
        never = [moment is None or moment > _ALMOST_NEVER for moment in (one, other)]
        return never[0] == never[1] if any(never) else super().same_expiry(one, other)

    def decode(self, raw: bytes) -> Any:
        return self._unpickle(b64decode(raw))

    def encode(self, value: Any, expires: int | None) -> bytes:
        return b64encode(pickle.dumps(value, self.cache.pickle_protocol))

    def unwrap(self, raw: bytes) -> Value:
        return Value.of_pickle(b64decode(raw))

    def wrap(self, value: Value) -> bytes:
        return b64encode(value.as_pickle())
