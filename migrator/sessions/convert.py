"""A session of one store as the session of another: data, expiry, and what tables store in addition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..clock import MICROSECONDS_PER_SECOND, now
from ..errors import DataRejected
from ..stores.base import Record, RecordProblem, digest
from ..stores.copying.page_copier import Expired
from ..stores.copying.records import CopyCounts
from .codec import Data, UnreadableSession, saved_at
from .expiry import from_data
from .records import CopyOptions

if TYPE_CHECKING:
    from .stores.base import BaseSessionStore


class Converter:
    """Converts sessions of ``source`` to sessions of ``dest``."""

    def __init__(self, source: BaseSessionStore, dest: BaseSessionStore, options: CopyOptions) -> None:
        self._source, self._dest, self._options = source, dest, options
        self._verbatim = dest.takes_verbatim(source)
        # Raw values of the same format need not be read. Signed text is: a row that cannot be read is not a session.
        self._tells_time = source.keeps_text and (dest.keeps_text or bool(dest.roles))
        self._blind = self._verbatim and not source.keeps_text

    def convert(self, session: Record, counts: CopyCounts, moment: int) -> Record:
        """Return what to write. Raises :exc:`RecordProblem` or :exc:`Expired` if nothing is to be written.

        ``moment`` is about the current time; writing handles what expires until then.
        """
        data = None
        if self._blind and session.expires is not None:
            self._source.check(session)
        else:
            data = self._load(session)
        expires = session.expires
        if expires is None:
            counts.no_ttl += 1
            expires = self._given_expiry(session, data or {})
        # No store keeps expiries in units larger than a second.
        if (
            expires is not None
            and expires <= moment + MICROSECONDS_PER_SECOND
            and (self._dest.rounded(expires) or 0) <= moment
        ):
            raise Expired
        saved = self._saved(session, moment)
        raw = session.raw if self._verbatim else self._dump(session, data or {}, expires, saved, counts)
        new = Record(
            session.key,
            raw,
            expires,
            self._dest.remember(data, session, saved) if data is not None else None,
        )
        if self._dest.has_size_limit and (problem := self._dest.fits(new)):
            raise RecordProblem("unfit", problem)
        return new

    def _load(self, session: Record) -> Data:
        try:
            return self._source.load(session)
        except UnreadableSession as error:
            raise RecordProblem("unreadable", str(error)) from None

    def _saved(self, session: Record, moment: int) -> int:
        """Return when a session was saved, in seconds of Unix time; now if its store does not keep that."""
        known = saved_at(str(session.raw)) if self._tells_time else None
        return moment // MICROSECONDS_PER_SECOND if known is None else known

    def _given_expiry(self, session: Record, data: Data) -> int | None:
        policy = self._options.no_ttl
        if policy == "keep":
            return None
        if policy == "expiry-from-data":
            return from_data(data, self._dest.engine, now())
        if policy == "error":
            raise DataRejected(
                f"The session {digest(session.key)} has no time to live. Choose what becomes of such sessions with "
                "--no-ttl expiry-from-data, --no-ttl skip, or --no-ttl keep if the destination is a cache. "
                "The sessions that were already copied stay in the destination."
            )
        raise RecordProblem("skipped", "it has no time to live")

    def _dump(self, session: Record, data: Data, expires: int | None, saved: int, counts: CopyCounts) -> str | bytes:
        try:
            raw, survives = self._dest.dump(data, expires, saved, key=session.key)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise RecordProblem(
                "unfit", f"the destination's serializer cannot store it: {_without_values(error)}"
            ) from None
        except UnreadableSession:
            raise RecordProblem(
                "unfit", "the destination's serializer cannot read back what it writes for it"
            ) from None
        if not survives:
            self._count_change(session, data, counts)
        return raw

    def _count_change(self, session: Record, data: Data, counts: CopyCounts) -> None:
        where = ", ".join(changed_parts(data)) or "some value"
        if self._options.strict:
            raise DataRejected(
                f"JSON would change the session {digest(session.key)} ({where}), and --strict stops the copy there. "
                "The sessions that were already copied stay in the destination."
            )
        counts.changed_by_json += 1
        counts.list(session.key, f"changed by JSON: {where}")


def _without_values(error: Exception) -> str:
    """Return an encoder's message if it names a type, otherwise the error's class: other messages quote values."""
    text = str(error)
    return text if text.startswith(("Object of type ", "keys must be ")) else type(error).__name__


def changed_parts(value: object) -> list[str]:
    """Return the kinds of values in session data that JSON does not give back unchanged."""
    found: dict[str, None] = {}
    _collect(value, found, 0)
    return list(found)


def _collect(value: object, found: dict[str, None], depth: int) -> None:
    if depth > 50:
        return
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                found[f"a key of type {type(key).__name__}"] = None
            _collect(item, found, depth + 1)
    elif isinstance(value, tuple):
        found["a tuple"] = None
    elif isinstance(value, list):
        for item in value:
            _collect(item, found, depth + 1)
    elif isinstance(value, float) and value != value:
        found["a NaN"] = None
