"""django-redis and django-valkey: several servers, serializers, compressors, and the herd client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from ...clock import MICROSECONDS_PER_SECOND
from ..base import Record
from ..compression import TooLarge, unpacked_by
from ..ignore_exceptions import heard, is_silent
from ..key_store import KeyStore
from ..pickles import fixed_class, safe_loads_with
from ..stored_values import RejectedValue, Value
from .replies import as_bytes
from .store import RedisStore, dotted_name

_HERD = "a herd client's value contains its own expiry and can only be copied between caches of that client"


class ClientRedisStore(RedisStore):
    """A cache whose ``client`` object holds connections, serializer and compressor."""

    def __init__(self, *, alias: str, cache: Any, trust_pickle: bool) -> None:
        self._herd = any(base.__name__ == "HerdClient" for base in type(cache.client).__mro__)
        super().__init__(alias=alias, cache=cache, trust_pickle=trust_pickle)
        if self._herd:
            self.expiry_step = MICROSECONDS_PER_SECOND  # the tuple has whole seconds
        if self._herd and not trust_pickle:
            marker = next(base for base in type(cache.client).__mro__ if base.__name__ == "HerdClient").__module__
            self._unpickle = safe_loads_with({(marker, "Marker"): fixed_class("Marker")})

    def close(self) -> None:
        """Leave the pools open, which all threads share."""

    def _clients(self) -> list[Any]:
        shards = getattr(self.cache.client, "_serverdict", None)
        return list(shards.values()) if shards else [self._primary()]

    def _primary(self) -> Any:
        client = self.cache.client
        return client.get_client(write=True) if hasattr(client, "get_client") else client._get_client(write=True)

    def _client_of(self, raw_key: str) -> Any:
        if getattr(self.cache.client, "_serverdict", None):
            return self.cache.client.get_server(raw_key)
        return self._primary()

    @cached_property
    def _serializer(self) -> Any:
        return self.cache.client._serializer

    def _has_pickles(self) -> bool:
        return type(self._serializer).__name__ == "PickleSerializer"

    def _compressed(self, data: bytes) -> bytes:
        return as_bytes(self.cache.client._compressor.compress(data))

    def _decompressed(self, data: bytes) -> bytes:
        try:
            return unpacked_by(self.cache.client._compressor, data)
        except TooLarge:
            raise
        except Exception:  # short values are stored uncompressed, which only the attempt shows
            return data

    def encoding(self) -> str:
        herd = " in a herd's tuple" if self._herd else ""
        return f"{dotted_name(self._serializer)} + {dotted_name(self.cache.client._compressor)}{herd}"

    def refusal(self) -> str | None:
        if is_silent(self.cache):
            return "its IGNORE_EXCEPTIONS hides writes that fail; define the same server once more without it"
        return super().refusal()

    def fetch(self, keys: Sequence[str]) -> dict[str, Record]:
        found = super().fetch(keys)
        return {key: self._inner(record) for key, record in found.items()} if self._herd else found

    def are_as_seen(self, records: Sequence[Record]) -> bool:
        return not self._herd and super().are_as_seen(records)

    def present(self, keys: Sequence[str]) -> set[str]:
        return set(self.fetch(keys)) if self._herd else super().present(keys)

    def delete(self, keys: Sequence[str]) -> None:
        heard(self.cache).delete_many([self.space.prefix + key for key in keys])

    def _inner(self, record: Record) -> Record:
        """Return a record with the expiry in the herd client's tuple; the server's is a minute later."""
        try:
            _, _, expires = self._plain(record.raw)
        except Exception:
            return record  # not a tuple of the herd client: a key without expiry, or another client's
        return record._replace(expires=int(expires * MICROSECONDS_PER_SECOND))

    def _plain(self, raw: bytes) -> Any:
        if self._pickles:
            return super().decode(raw)
        self._decompressed(raw)  # with a limit, which the client itself does not have
        return self.cache.client.decode(raw)

    def decode(self, raw: bytes) -> Any:
        return self._without_herd(self._plain(raw))

    def load(self, raws: Mapping[str, Any]) -> dict[str, Any]:
        return {key: self._without_herd(self.cache.client.decode(raw)) for key, raw in raws.items()}

    def _without_herd(self, value: Any) -> Any:
        if self._herd and isinstance(value, tuple) and len(value) == 3 and type(value[0]).__name__ == "Marker":
            return value[1]
        return value

    def encode(self, value: Any, expires: int | None) -> bytes:
        if self._herd and expires is not None:
            value = (self.cache.client._marker, value, expires // MICROSECONDS_PER_SECOND)
        return as_bytes(self.cache.client.encode(value))

    def _seen_expiry(self, seen: Record) -> bytes:
        # The expiry that counts is in the tuple, and is compared with the value.
        return b"" if self._herd else super()._seen_expiry(seen)

    def _outer(self, record: Record) -> Record:
        if not self._herd or record.expires is None:
            return record
        later = int(self.cache.client._herd_timeout) * MICROSECONDS_PER_SECOND
        return record._replace(expires=record.expires + later)

    def takes_verbatim(self, other: KeyStore) -> bool:
        # The herd client's tuple contains the expiry, which a copy may have to change.
        return not self._herd and super().takes_verbatim(other)

    def unwrap(self, raw: bytes) -> Value:
        if self._herd:
            raise RejectedValue(_HERD)
        if self._pickles or raw.lstrip(b"-").isdigit():
            return super().unwrap(raw) if self._pickles else Value("integer", raw)
        return Value(dotted_name(self._serializer), self._decompressed(raw))

    def wrap(self, value: Value) -> bytes:
        if self._herd:
            raise RejectedValue(_HERD)
        if not self._pickles and value.kind == "integer":
            return value.data
        if value.kind == dotted_name(self._serializer):
            return self._compressed(value.data)
        return super().wrap(value)
