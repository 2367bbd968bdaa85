"""Django's ``FileBasedCache``. File names are digests: its keys cannot be listed and have to be given."""

from __future__ import annotations

import pickle
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..clock import MICROSECONDS_PER_SECOND, now
from .base import Item, KeyStore, RejectedItem, Value
from .compression import unpacked
from .key_space import KeySpace


class FileStore(KeyStore):
    """A file holds a pickled expiry in seconds and, behind it, the compressed pickle of the value."""

    expiry_step = MICROSECONDS_PER_SECOND

    def address(self) -> str:
        return f"directory {self.cache._dir}"

    def identities(self) -> frozenset[str]:
        return frozenset({str(Path(self.cache._dir).resolve())})

    def encoding(self) -> str:
        return "pickle + zlib in a file"

    def capacity(self) -> int | None:
        return max(int(self.cache._max_entries) - 1, 0)  # where there are as many, the next one has others deleted

    def held(self) -> int:
        return len(self.cache._list_cache_files())

    def fetch(self, space: KeySpace, keys: Sequence[str]) -> dict[str, Item]:
        found = {}
        for key in keys:
            item = self._read(space, key)
            if item is not None and (item.expires is None or item.expires > now()):
                found[key] = item
        return found

    def _read(self, space: KeySpace, key: str) -> Item | None:
        try:
            with Path(self.cache._key_to_file(space.prefix + key)).open("rb") as file:
                expires = self._unpickle_start(file)
                return Item(key, file.read(), None if expires is None else int(expires * MICROSECONDS_PER_SECOND))
        except FileNotFoundError:
            return None

    def _unpickle_start(self, file: Any) -> float | None:
        class Reader(pickle.Unpickler):
            def find_class(self, module: str, name: str) -> Any:
                raise pickle.UnpicklingError("an expiry is a plain number")

        expires: float | None = Reader(file).load()
        return expires

    def add(self, space: KeySpace, items: Sequence[Item]) -> set[str]:
        there = self.fetch(space, [item.key for item in items])
        return {item.key for item in items if item.key not in there and self._write(space, item)}

    def _write(self, space: KeySpace, item: Item) -> bool:
        expires = self.rounded(item.expires)
        left = None if expires is None else expires / MICROSECONDS_PER_SECOND - time.time()
        if left is not None and left <= 0:
            return False
        # The backend writes a file and renames it; ours holds the value in the form that it reads.
        self.cache.set(space.prefix + item.key, self.decode(item.raw), left)
        return True

    def update(self, space: KeySpace, item: Item) -> bool:
        return bool(self.present(space, [item.key])) and self._write(space, item)

    def replace(self, space: KeySpace, pairs: Sequence[tuple[Item, Item]]) -> set[str]:
        there = self.fetch(space, [seen.key for seen, _ in pairs])
        return {seen.key for seen, new in pairs if self.is_as_seen(there, seen) and self._write(space, new)}

    def discard(self, space: KeySpace, items: Sequence[Item]) -> set[str]:
        there = self.fetch(space, [seen.key for seen in items])
        return {
            seen.key for seen in items if self.is_as_seen(there, seen) and self.cache.delete(space.prefix + seen.key)
        }

    def decode(self, raw: bytes) -> Any:
        return self._unpickle(unpacked(raw))

    def encode(self, value: Any, expires: int | None) -> bytes:
        return zlib.compress(pickle.dumps(value, self.cache.pickle_protocol))

    def unwrap(self, raw: bytes) -> Value:
        try:
            return Value.of_pickle(unpacked(raw))
        except zlib.error:
            raise RejectedItem("its file is damaged") from None

    def wrap(self, value: Value) -> bytes:
        return zlib.compress(value.as_pickle())
