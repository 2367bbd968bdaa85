"""Sessions in files: signed text, named after the cookie and the key, which expire by the file's time."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.exceptions import SuspiciousOperation

from ...clock import MICROSECONDS_PER_SECOND, now
from ...errors import Refused
from ...stores.base import WHOLE, Record, Share, batches
from ...stores.key_space import SESSION_KEY
from ...stores.table.reading import LATEST
from ..codec import Data, UnreadableSession, same_text
from ..expiry import age_from_data, from_data
from .base import BaseSessionStore

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase

# Django's engine accepts no other characters in a file name (_key_to_file()).
FILE_KEY = r"[a-z0-9]{8,128}"
# What follows the cookie's name in the temporary file of a save in progress.
_IN_PROGRESS = "_out_"


class SessionFileStore(BaseSessionStore):
    """The files of ``SESSION_FILE_PATH``. The expiry results from the file's time and the data."""

    def __init__(self, *, engine: SessionBase, keys_from: Path | None = None, key_regex: str = SESSION_KEY) -> None:
        super().__init__(engine=engine, keys_from=keys_from)
        self._directory = Path(type(engine)._get_storage_path())  # type: ignore[attr-defined]
        self._prefix: str = settings.SESSION_COOKIE_NAME
        self._pattern = re.compile(key_regex)
        if not self._directory.is_dir():
            raise Refused(f"SESSION_FILE_PATH {str(self._directory)!r} is not a directory.")

    def label(self) -> str:
        return f"directory {self._directory}, files {self._prefix}…"

    def identities(self) -> frozenset[str]:
        return frozenset({f"{self._directory.resolve()}/{self._prefix}"})

    def refusal(self) -> str | None:
        return None if os.access(self._directory, os.W_OK) else "its directory is not writable"

    @property
    def pattern(self) -> str:
        return self._pattern.pattern

    def _path(self, key: str) -> Path:
        return self._directory / f"{self._prefix}{key}"

    # Sessions

    def keys(self, size: int, share: Share = WHOLE) -> Iterator[list[str]]:
        if self._keys_from is None:
            yield from batches(self._listed(share), size)
            return
        for page in self.given_keys(size, share):
            found = list(filter(self._pattern.fullmatch, page))
            self.hidden.update(filter(self._is_taken, set(page).difference(found)))
            yield found

    def _listed(self, share: Share) -> Iterator[str]:
        with os.scandir(self._directory) as entries:
            for entry in entries:
                key = entry.name.removeprefix(self._prefix)
                if not entry.name.startswith(self._prefix) or not share.holds(key):
                    continue
                if self._pattern.fullmatch(key):
                    yield key
                elif not key.startswith(_IN_PROGRESS) and self._is_taken(key):
                    self.hidden.add(key)

    def _is_taken(self, key: str) -> bool:
        """Whether the engine would read such a key at all; other files belong to another site, or are not sessions."""
        try:
            self.engine._key_to_file(key)  # type: ignore[attr-defined]
        except SuspiciousOperation:
            return False
        return True

    def fetch(self, keys: Sequence[str]) -> dict[str, Record]:
        moment = now()
        found = {}
        for key in keys:
            session = self._read(key)
            if session is not None and (session.expires is None or session.expires > moment):
                found[key] = session
        return found

    def _read(self, key: str) -> Record | None:
        if not self._pattern.fullmatch(key) and key not in self.hidden:
            return None
        try:
            with self._path(key).open(encoding="ascii", errors="replace") as file:
                text = file.read()
                changed = os.fstat(file.fileno()).st_mtime_ns // 1000
        except FileNotFoundError:
            return None
        try:
            expires = from_data(self.codec.decode(text), self.engine, changed)
        except UnreadableSession:
            expires = changed + self.engine.get_session_cookie_age() * MICROSECONDS_PER_SECOND
        return Record(key, text, expires)

    def add(self, sessions: Sequence[Record]) -> set[str]:
        there = self.fetch([session.key for session in sessions])
        moment = now()
        written = set()
        for session in sessions:
            if session.key not in there and session.expires is not None and session.expires > moment:
                self._path(session.key).unlink(missing_ok=True)  # it has expired
                if self._write(session, replace=False):
                    written.add(session.key)
        return written

    def _write(self, session: Record, *, replace: bool) -> bool:
        handle, temporary = tempfile.mkstemp(dir=self._directory, prefix=f"{self._prefix}_out_")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(str(session.raw).encode("ascii"))
            self._stamp(temporary, session)
            if replace:
                os.replace(temporary, self._path(session.key))
            else:
                os.link(temporary, self._path(session.key))  # which fails if the session exists
        except FileExistsError:
            return False
        finally:
            Path(temporary).unlink(missing_ok=True)
        return True

    def _stamp(self, path: str, session: Record) -> None:
        """Set the file's time, from which the engine counts the session's age."""
        expires = min(session.expires or 0, LATEST)
        age = age_from_data(self.codec.decode(str(session.raw)), self.engine)
        # An absolute expiry in the data does not depend on the file's time.
        nanoseconds = 1000 * (now() if age is None else expires - age)
        os.utime(path, ns=(nanoseconds, nanoseconds))

    def update(self, session: Record) -> bool:
        return bool(self.fetch([session.key])) and self._write(session, replace=True)

    def replace(self, pairs: Sequence[tuple[Record, Record]]) -> set[str]:
        return {seen.key for seen, new in pairs if self._is_as_seen(seen) and self._write(new, replace=True)}

    def discard(self, sessions: Sequence[Record]) -> set[str]:
        found = {session.key for session in sessions if self._is_as_seen(session)}
        for key in found:
            self._path(key).unlink(missing_ok=True)
        return found

    def discard_expired(self, size: int) -> int:
        moment, count = now(), 0
        for key in self._listed(WHOLE):
            session = self._read(key)
            if session is not None and session.expires is not None and session.expires <= moment:
                self._path(key).unlink(missing_ok=True)
                count += 1
        return count

    def rounded(self, expires: int | None) -> int | None:
        return None if expires is None else min(expires, LATEST)

    def _is_as_seen(self, seen: Record) -> bool:
        current = self._read(seen.key)
        return current is not None and self.same(current, seen)

    # Payloads

    def load(self, session: Record) -> Data:
        return self.codec.decode(str(session.raw))

    def takes_verbatim(self, other: BaseSessionStore) -> bool:
        return other.keeps_text and same_text(self.engine, other.engine)
