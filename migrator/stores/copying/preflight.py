"""What is checked before the first record is written, whatever is copied."""

from __future__ import annotations

from collections.abc import Iterable

from ... import conf
from ...console.wording import plural
from ...errors import Refused
from ..base import Store


def check_stores_differ(one: Store, other: Store, names: str, consequence: str = "") -> None:
    """Raise :exc:`Refused` if two stores are the same by what their servers report."""
    if one.identities() & other.identities():
        raise Refused(f"{names} are the same store: {other.label()}.{consequence}")


def check_not_protected(dest: Store, which: str = "", *, consequence: str = "it may never be a destination") -> None:
    """Raise :exc:`Refused` if the settings protect a database that would be written to; ``which`` describes it."""
    for alias in sorted(dest.databases() & set(conf.load().PROTECTED)):
        raise Refused(f"MIGRATOR['PROTECTED'] names the database {alias!r}{which}; {consequence}.")


def check_room(dest: Store, keys: Iterable[list[str]], noun: str, name: str, limit: int | None = None) -> None:
    """Raise :exc:`Refused` for a destination that would evict records, its own or those of the pages of ``keys``."""
    capacity = dest.capacity()
    if capacity is None:
        return
    held = dest.held()
    coming = sum(len(set(page) - (dest.present(page) if held else set())) for page in keys)
    coming = coming if limit is None else min(coming, limit)
    if held + coming > capacity:
        raise Refused(
            f"{name} keeps {capacity:,} entries (MAX_ENTRIES) and evicts others. It holds {held:,}, and "
            f"{plural(coming, noun)} would be added. Raise MAX_ENTRIES in its OPTIONS above the sum, permanently."
        )
