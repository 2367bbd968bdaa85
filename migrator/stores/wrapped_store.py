"""A store over another store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from .base import WHOLE, Record, Share, Store

Inner = TypeVar("Inner", bound=Store)


class WrappedStore(Store, Generic[Inner]):
    """A store that adds something to another: whatever a subclass does not answer itself, ``inner`` answers."""

    def __init__(self, inner: Inner, *, is_listed: bool = True) -> None:
        """Wrap a store; without ``is_listed`` it is not asked whether it can list keys, which may ask a server."""
        Store.__init__(self)
        self.inner = inner
        self.can_list_keys, self.can_share = is_listed and inner.can_list_keys, inner.can_share
        self.keeps_forever, self.has_size_limit = inner.keeps_forever, inner.has_size_limit

    def close(self) -> None:
        self.inner.close()

    @property
    def can_open_again(self) -> bool:
        return self.inner.can_open_again

    def label(self) -> str:
        return self.inner.label()

    def identities(self) -> frozenset[str]:
        return self.inner.identities()

    def databases(self) -> frozenset[str]:
        return self.inner.databases()

    def capacity(self) -> int | None:
        return self.inner.capacity()

    def held(self) -> int:
        return self.inner.held()

    def blind_spot(self) -> str | None:
        return self.inner.blind_spot()

    def demand_all(self) -> None:
        self.inner.demand_all()

    def refusal(self) -> str | None:
        return self.inner.refusal()

    def notes(self) -> list[str]:
        return self.inner.notes()

    def evictions(self) -> int:
        return self.inner.evictions()

    def keys(self, size: int, share: Share = WHOLE) -> Iterator[list[str]]:
        return self.inner.keys(size, share)

    def fetch(self, keys: Sequence[str]) -> dict[str, Record]:
        return self.inner.fetch(keys)

    def read(self, keys: Sequence[str]) -> dict[str, Record]:
        return self.inner.read(keys)

    def are_as_seen(self, records: Sequence[Record]) -> bool:
        return self.inner.are_as_seen(records)

    def present(self, keys: Sequence[str]) -> set[str]:
        return self.inner.present(keys)

    def add(self, records: Sequence[Record]) -> set[str]:
        return self.inner.add(records)

    def update(self, record: Record) -> bool:
        return self.inner.update(record)

    def replace(self, pairs: Sequence[tuple[Record, Record]]) -> set[str]:
        return self.inner.replace(pairs)

    def discard(self, records: Sequence[Record]) -> set[str]:
        return self.inner.discard(records)

    def fits(self, record: Record) -> str | None:
        return self.inner.fits(record)

    def rounded(self, expires: int | None) -> int | None:
        return self.inner.rounded(expires)

    def same_expiry(self, one: int | None, other: int | None) -> bool:
        return self.inner.same_expiry(one, other)
