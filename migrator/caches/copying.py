"""A cache copied to another: raw values and their exact time to live, never read as objects."""

from __future__ import annotations

from collections.abc import Callable

from ..console.progress import Progress
from ..console.prompts import Prompter
from ..errors import Refused
from ..server_errors import reporting_outages
from ..stores.copying.passes import Check, copy_once, jobs_for
from ..stores.copying.preflight import check_not_protected, check_room
from ..stores.copying.records import CopyCounts, CopyResult
from ..stores.copying.run import carry_out
from ..stores.key_space import is_bookkeeping
from ..stores.key_store import KeyStore
from ..stores.stored_values import RejectedValue
from .raw_values import CacheCopy, CacheEndpoint, keys_of
from .records import CacheOptions, CachePlan


@reporting_outages()
def copy_cache(
    *,
    source: str,
    dest: str,
    options: CacheOptions | None = None,
    progress: Progress | None = None,
    prompter: Prompter | None = None,
    show: Callable[[CachePlan], object] | None = None,
) -> CopyResult[CachePlan]:
    """Copy those keys of the cache ``source`` to the cache ``dest`` that it does not have.

    Raises :exc:`migrator.errors.UsageError`, :exc:`Refused` before the first write,
    :exc:`migrator.errors.Declined`, and :exc:`migrator.errors.Interrupted`.
    """
    options, progress, prompter = options or CacheOptions(), progress or Progress(), prompter or Prompter()
    one, other = CacheEndpoint(source, options, is_listed=True), CacheEndpoint(dest, options, is_listed=False)
    context = CacheCopy(one, other, options)
    with context.opened() as (opened, target):
        plan = _planned(opened, target, options)

        def copy(check: Check) -> list[CopyCounts]:
            with progress.task("keys", plan.expected, unit="keys") as task:
                return [copy_once(context, opened, target, task.advance, check)]

        question = f"Copy the cache {source!r} to {dest!r}?"
        return carry_out(plan, target, show=show, prompter=prompter, question=question, copy=copy)


def _planned(source: KeyStore, dest: KeyStore, options: CacheOptions) -> CachePlan:
    if source.locations() & dest.locations():
        _check_different(source, dest)
    check_not_protected(dest, f", which holds the cache {dest.alias!r}")
    for store in (source, dest):
        if reason := store.blind_spot():
            raise Refused(f"The cache {store.alias!r} cannot be copied: {reason}. Nothing was written.")
    if reason := dest.refusal():
        raise Refused(f"Nothing can be written to the cache {dest.alias!r}: {reason}.")
    in_source, own = _counted(source, options)
    check_room(dest, keys_of(source, options), "key", f"The cache {dest.alias!r}")
    return CachePlan(
        source.label(),
        dest.label(),
        in_source,
        None,
        tuple(_notes(source, dest, options)),
        options,
        has_given_keys=options.keys_from is not None,
        nothing_found=_nothing_found(source, options),
        encoding=_check_encoding(source, dest, options),
        own=own,
    )


def _check_different(source: KeyStore, dest: KeyStore) -> None:
    """Raise :exc:`Refused` for one cache given twice, and for a copy that would read its own keys."""
    ours, theirs = source.space, dest.space
    if ours.raw("probe") == theirs.raw("probe"):
        raise Refused(f"Source and destination are the same store: {source.address()}, keys {ours.raw('…')}.")
    if ours.head and theirs.raw("probe").startswith(ours.head):
        raise Refused(
            "Both caches are in one store, and what is written would be read as keys of the source again: "
            f"{theirs.raw('…')} begins like {ours.raw('…')}."
        )


def _counted(source: KeyStore, options: CacheOptions) -> tuple[int | None, int]:
    """Return how many keys the source has, None for given ones, and how many keys are migrator's own there."""
    if options.keys_from:
        return None, 0
    count = own = 0
    for page in source.keys(10_000):
        kept = sum(is_bookkeeping(options.match + key) for key in page)
        count, own = count + len(page) - kept, own + kept
    return count, own


def _check_encoding(source: KeyStore, dest: KeyStore, options: CacheOptions) -> str:
    """Return how values are copied. Raises :exc:`Refused` if the values of one page would have to be read for that."""
    if dest.takes_verbatim(source):
        return "as they are"
    for page in keys_of(source, options):
        for record in source.fetch(page[:20]).values():
            try:
                dest.wrap(source.unwrap(record.raw))
            except RejectedValue as error:
                raise Refused(
                    f"Values of {source.alias!r} ({source.encoding()}) cannot be copied to {dest.alias!r} "
                    f"({dest.encoding()}) unread: {error}. Give both caches the same serializer for the copy, or "
                    "change from one to the other with a TransitionCache, which uses both backends."
                ) from None
        break
    return f"from {source.encoding()} to {dest.encoding()}, with pickles unread"


def _notes(source: KeyStore, dest: KeyStore, options: CacheOptions) -> list[str]:
    notes = [*source.notes(), *dest.notes()]
    if not source.space.is_stock:
        notes.append(
            f"{source.alias!r} has a KEY_FUNCTION of its own: keys that it makes for another tenant do not look like "
            f"{source.space.raw('…')} and are not copied"
        )
    if options.jobs > jobs_for(source, options):
        notes.append("only one process copies: this source, the platform or --limit does not allow several")
    return notes


def _nothing_found(source: KeyStore, options: CacheOptions) -> str:
    """Return the message for a source in which no key was found."""
    if options.keys_from is not None:
        return f"None of the given keys was found in {source.label()}."
    match = ", and --match" if options.match else ""
    return (
        f"No key was found in {source.label()}. If it holds any, check KEY_PREFIX, VERSION and KEY_FUNCTION of the "
        f"alias{match}."
    )
