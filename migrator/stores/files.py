"""Django's ``FileBasedCache``. File names are digests, so keys cannot be listed and have to be given."""

from __future__ import annotations

import pickle
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..clock import MICROSECONDS_PER_SECOND, now
from .base import Record
from .compression import unpacked
from .key_store import KeyStore
from .stored_values import RejectedValue, Value


class FileStore(KeyStore):
    """A file holds a pickled expiry in seconds, followed by the compressed pickle of the value."""

    def address(self) -> str:
        return f"directory {self.cache._dir}"

    def locations(self) -> frozenset[str]:
        return frozenset({str(Path(self.cache._dir).resolve())})

    def encoding(self) -> str:
        return "pickle + zlib in a file"

    def capacity(self) -> int | None:
        return max(int(self.cache._max_entries) - 1, 0)  # set() culls when it finds so many: FileBasedCache._cull()

    def held(self) -> int:
        return len(self.cache._list_cache_files())

    def fetch(self, keys: Sequence[str]) -> dict[str, Record]:
        found = {}
        for key in keys:
            record = self._read(key)
            if record is not None and (record.expires is None or record.expires > now()):
                found[key] = record
        return found

    def _read(self, key: str) -> Record | None:
        try:
            with Path(self.cache._key_to_file(self.space.prefix + key, self.version)).open("rb") as file:
                expires = self._unpickle_start(file)
                return Record(key, file.read(), None if expires is None else int(expires * MICROSECONDS_PER_SECOND))
        except (FileNotFoundError, EOFError):  # EOFError: the backend is writing to it
            return None

    def _unpickle_start(self, file: Any) -> float | None:
        class Reader(pickle.Unpickler):
            def find_class(self, module: str, name: str) -> Any:
                raise pickle.UnpicklingError("an expiry is a plain number")

        expires: float | None = Reader(file).load()
        return expires

    def add(self, records: Sequence[Record]) -> set[str]:
        there = self.fetch([record.key for record in records])
        return {record.key for record in records if record.key not in there and self._write(record)}

    def _write(self, record: Record) -> bool:
        expires = self.rounded(record.expires)
        left = None if expires is None else expires / MICROSECONDS_PER_SECOND - time.time()
        if left is not None and left <= 0:
            return False
        # The backend writes a temporary file and renames it.
        self.cache.set(self.space.prefix + record.key, self.decode(record.raw), left)
        return True

    def update(self, record: Record) -> bool:
        return bool(self.present([record.key])) and self._write(record)

    def replace(self, pairs: Sequence[tuple[Record, Record]]) -> set[str]:
        there = self.fetch([seen.key for seen, _ in pairs])
        return {seen.key for seen, new in pairs if self.is_as_seen(there, seen) and self._write(new)}

    def discard(self, records: Sequence[Record]) -> set[str]:
        there = self.fetch([seen.key for seen in records])
        seen_still = [seen.key for seen in records if self.is_as_seen(there, seen)]
        return {key for key in seen_still if self.cache.delete(self.space.prefix + key)}

    def decode(self, raw: bytes) -> Any:
        return self._unpickle(unpacked(raw))

    def load(self, raws: Mapping[str, Any]) -> dict[str, Any]:
        # As the backend itself reads them.
        return {key: pickle.loads(zlib.decompress(raw)) for key, raw in raws.items()}  # noqa: S301

    def encode(self, value: Any, expires: int | None) -> bytes:
        return zlib.compress(pickle.dumps(value, self.cache.pickle_protocol))

    def unwrap(self, raw: bytes) -> Value:
        try:
            return Value.of_pickle(unpacked(raw))
        except zlib.error:
            raise RejectedValue("its file is damaged") from None

    def wrap(self, value: Value) -> bytes:
        return zlib.compress(value.as_pickle())
