"""What a copy of a cache does to a page: values as they are stored, without reading them as objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..console.private_files import given_lines
from ..errors import Refused
from ..stores import open_store
from ..stores.base import WHOLE, Record, RecordProblem, ScatteredShare, Share, batches
from ..stores.copying.page_copier import CopyRules, Expired, Page, PageCopier, Pairs
from ..stores.copying.passes import CopyContext
from ..stores.copying.records import CopyCounts
from ..stores.key_space import is_bookkeeping, key_space, unlisted_key_space
from ..stores.key_store import KeyStore
from ..stores.stored_values import RejectedValue, reason_against
from .records import CacheOptions


@dataclass(frozen=True)
class CacheEndpoint:
    """A cache that is copied from or to, and the keys of it that ``options`` want."""

    alias: str
    options: CacheOptions
    is_listed: bool

    def open(self) -> KeyStore:
        """Open the cache. Raises :exc:`Refused` if its keys are to be listed and cannot be."""
        store = open_store(alias=self.alias)
        store.demand_all()
        make_key, prefix = store.cache.make_key, self.options.match
        if not self.is_listed or self.options.keys_from is not None:
            return store.within(unlisted_key_space(make_key, prefix=prefix))
        if not store.can_list_keys:
            raise Refused(
                f"The keys of the cache {self.alias!r} cannot be listed: {store.why_unlisted()}. "
                "Give them with --keys-from FILE."
            )
        return store.within(key_space(make_key, alias=self.alias, prefix=prefix))


class CacheCopy(CopyContext[KeyStore]):
    """A copy of a cache."""

    options: CacheOptions

    def check(self, source: KeyStore, dest: KeyStore) -> None:
        """Check nothing: that was done once, for the plan."""

    def pages(self, source: KeyStore, share: Share) -> Iterator[Page]:
        for keys in keys_of(source, self.options, share):
            found = source.read(keys)
            yield Page(list(found.values()), len(keys) - len(found))

    @contextmanager
    def copier(self, source: KeyStore, dest: KeyStore, counts: CopyCounts) -> Iterator[PageCopier]:
        rules = OverwriteRules(dest, overwrites=self.options.overwrite)
        yield PageCopier(source, dest, RawValues(source, dest).convert, rules, counts)

    def share(self, index: int) -> Share:
        return ScatteredShare(index, self.options.jobs)


def keys_of(store: KeyStore, options: CacheOptions, share: Share = WHOLE) -> Iterator[list[str]]:
    """Yield the keys of a share in pages, as far as the options want them; migrator's own keys are left out."""
    left = options.limit
    pages = _given(options, share) if options.keys_from else store.keys(options.page_size, share)
    for page in pages:
        page = [key for key in page if not is_bookkeeping(options.match + key)]
        if left is not None:
            page = page[:left]
            left -= len(page)
        if page:
            yield page
        if left == 0:
            return


def _given(options: CacheOptions, share: Share) -> Iterator[list[str]]:
    assert options.keys_from is not None  # noqa: S101  (checked by the caller)
    lines = given_lines(options.keys_from)
    wanted = (key for key in lines if key and key.startswith(options.match) and share.holds(key))
    return batches((key.removeprefix(options.match) for key in wanted), options.page_size)


class RawValues:
    """Converts records of one cache to records of another without reading values."""

    def __init__(self, source: KeyStore, dest: KeyStore) -> None:
        self._source, self._dest = source, dest
        self._verbatim = dest.takes_verbatim(source)

    def convert(self, record: Record, counts: CopyCounts, moment: int) -> Record:
        """Return what to write. Raises :exc:`RecordProblem` or :exc:`Expired` if nothing is to be written."""
        if reason := reason_against(record.raw):
            raise RecordProblem("unfit", reason)
        if record.expires is not None and (self._dest.rounded(record.expires) or 0) <= moment:
            raise Expired
        try:
            raw = record.raw if self._verbatim else self._dest.wrap(self._source.unwrap(record.raw))
        except RejectedValue as error:
            raise RecordProblem("unfit", str(error)) from None
        new = record._replace(raw=raw)
        if problem := self._dest.fits(new):
            raise RecordProblem("unfit", problem)
        return new


class OverwriteRules(CopyRules):
    """Leaves keys that the destination has, or overwrites those with another value."""

    def __init__(self, dest: KeyStore, *, overwrites: bool) -> None:
        self._dest, self._overwrites = dest, overwrites

    def count_written(self, records: Iterable[Record], counts: CopyCounts) -> None:
        counts.no_ttl += sum(record.expires is None for record in records)

    def handle_present(self, pairs: Pairs, counts: CopyCounts) -> Pairs:
        there = self._dest.fetch(list(pairs))
        counts.expired += len(pairs) - len(there)
        changed: set[str] = set()
        if self._overwrites:
            other = {key: held for key, held in there.items() if not self._dest.same(held, pairs[key][1])}
            changed = self._dest.replace([(held, pairs[key][1]) for key, held in other.items()])
        counts.overwritten += len(changed)
        counts.present += len(there) - len(changed)
        return {key: pairs[key] for key in changed}
