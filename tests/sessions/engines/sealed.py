"""An engine over a cache that keeps sessions encrypted by a load() and a save() of its own, with keys of its own."""

import base64
import json
from typing import Any

from django.contrib.sessions.backends import cache
from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.core.signing import Signer


def seal(key: str, data: Any) -> str:
    return Signer(salt=key).sign(base64.b64encode(json.dumps(data).encode()).decode())


class SessionStore(cache.SessionStore):
    cache_key_prefix = "shop.sealed:"

    def load(self) -> Any:
        value = self._cache.get(self.cache_key)
        if value is None:
            self._session_key = None
            return {}
        return json.loads(base64.b64decode(Signer(salt=str(self.session_key)).unsign(value)))

    def save(self, must_create: bool = False) -> None:
        if self.session_key is None:
            return self.create()
        data = seal(self.session_key, self._get_session(no_load=must_create))
        if must_create:
            if not self._cache.add(self.cache_key, data, self.get_expiry_age()):
                raise CreateError
            return None
        if self._cache.get(self.cache_key) is None:
            raise UpdateError
        self._cache.set(self.cache_key, data, self.get_expiry_age())
        return None
