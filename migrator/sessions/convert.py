"""A session of one place as the session of another: payload, expiry, and what tables know beside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..clock import MICROSECONDS_PER_SECOND, now
from ..errors import DataRejected
from ..stores.base import digest
from .codec import Data, UnreadableSession, saved_at
from .expiry import from_data
from .records import CopyOptions, SessionCounts, SessionProblem, SessionRecord

if TYPE_CHECKING:
    from .stores.base import Store


class Expired(Exception):
    """The session's time is over."""


class Converter:
    """Converts sessions from ``source`` to ``dest``; the way is chosen once."""

    def __init__(self, source: Store, dest: Store, options: CopyOptions) -> None:
        self._source, self._dest, self._options = source, dest, options
        self._verbatim = dest.takes_verbatim(source)
        # Raw values of equal spelling need not be read; signed text is, for a row that cannot be read is no session.
        self._tells_time = source.keeps_text and (dest.keeps_text or bool(dest.roles))
        self._blind = self._verbatim and not source.keeps_text

    def convert(self, session: SessionRecord, tally: SessionCounts, moment: int) -> SessionRecord:
        """Return what to write; raise :exc:`SessionProblem` or :exc:`Expired` where nothing is to be written.

        ``moment`` is about the present; what expires until it is written is left to the writing.
        """
        data = None
        if self._blind and session.expires is not None:
            self._source.check(session)
        else:
            data = self._load(session)
        expires = session.expires
        if expires is None:
            tally.no_ttl += 1
            expires = self._given_expiry(session, data or {})
        # No place keeps expiry less finely than in seconds.
        if (
            expires is not None
            and expires <= moment + MICROSECONDS_PER_SECOND
            and (self._dest.rounded(expires) or 0) <= moment
        ):
            raise Expired
        saved = self._saved(session, moment)
        payload = session.payload if self._verbatim else self._dump(session, data or {}, expires, saved, tally)
        new = SessionRecord(
            session.key,
            payload,
            expires,
            self._dest.remember(data, session, saved) if data is not None else None,
        )
        if self._dest.has_size_limit and (problem := self._dest.fits(new)):
            raise SessionProblem("unfit", problem)
        return new

    def _load(self, session: SessionRecord) -> Data:
        try:
            return self._source.load(session)
        except UnreadableSession as error:
            raise SessionProblem("unreadable", str(error)) from None

    def _saved(self, session: SessionRecord, moment: int) -> int:
        """Return the second at which a session was saved, the present where its place does not keep it."""
        known = saved_at(str(session.payload)) if self._tells_time else None
        return moment // MICROSECONDS_PER_SECOND if known is None else known

    def _given_expiry(self, session: SessionRecord, data: Data) -> int | None:
        policy = self._options.no_ttl
        if policy == "keep":
            return None
        if policy == "expiry-from-data":
            return from_data(data, self._dest.engine, now())
        if policy == "error":
            raise DataRejected(
                f"The session {digest(session.key)} has no time to live. Choose what becomes of such sessions with "
                "--no-ttl expiry-from-data, skip, or keep where the destination is a cache."
            )
        raise SessionProblem("skipped", "it has no time to live")

    def _dump(
        self, session: SessionRecord, data: Data, expires: int | None, saved: int, tally: SessionCounts
    ) -> str | bytes:
        try:
            payload, survives = self._dest.dump(data, expires, saved, key=session.key)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise SessionProblem(
                "unfit", f"the destination's serializer does not hold it: {_without_values(error)}"
            ) from None
        except UnreadableSession:
            raise SessionProblem(
                "unfit", "the destination's serializer does not read back what it writes for it"
            ) from None
        if not survives:
            self._count_change(session, data, tally)
        return payload

    def _count_change(self, session: SessionRecord, data: Data, tally: SessionCounts) -> None:
        where = ", ".join(changed_parts(data)) or "some value"
        if self._options.strict:
            raise DataRejected(
                f"JSON would change the session {digest(session.key)} ({where}), and --strict stops there. "
                "What was copied until then stays."
            )
        tally.changed_by_json += 1
        tally.list(session.key, f"changed by JSON: {where}")


def _without_values(error: Exception) -> str:
    """Return what an encoder's error says where it names a type; its words for values are left out."""
    text = str(error)
    return text if text.startswith(("Object of type ", "keys must be ")) else type(error).__name__


def changed_parts(value: object) -> list[str]:
    """Name the kinds of values in session data that JSON does not give back as they were."""
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
