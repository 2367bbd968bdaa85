"""An engine that keeps its sessions in a server that no setting of Django names; its load() never says "not there"."""

import os
from typing import Any

import redis
from django.contrib.sessions.backends.base import CreateError, SessionBase


def server() -> Any:
    return redis.Redis.from_url(os.environ["MIGRATOR_TEST_REDIS"].rstrip("/") + "/14")


class SessionStore(SessionBase):
    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        self.server = server()

    def load(self) -> Any:
        return self.decode(str(self.server.get(self.session_key), "utf-8") if self.exists(self.session_key) else "None")

    def exists(self, session_key: str | None) -> bool:
        return bool(self.server.exists(session_key or "none"))

    def create(self) -> None:
        while True:
            self._session_key = self._get_new_session_key()
            try:
                self.save(must_create=True)
            except CreateError:
                continue
            self.modified = True
            return

    def save(self, must_create: bool = False) -> None:
        if self.session_key is None:
            return self.create()
        if must_create and self.exists(self.session_key):
            raise CreateError
        text = self.encode(self._get_session(no_load=must_create))
        self.server.set(self.session_key, text, ex=self.get_expiry_age())
        return None

    def delete(self, session_key: str | None = None) -> None:
        self.server.delete(session_key or self.session_key or "none")

    @classmethod
    def clear_expired(cls) -> None:
        pass
