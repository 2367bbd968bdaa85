"""An engine that keeps a session in two values of its cache, by a load() and a save() of its own."""

from typing import Any

from django.contrib.sessions.backends import cache


class SessionStore(cache.SessionStore):
    def load(self) -> Any:
        found = self._cache.get_many([f"{self.cache_key}.who", f"{self.cache_key}.rest"])
        return {"who": found.get(f"{self.cache_key}.who"), **found.get(f"{self.cache_key}.rest", {})}

    def save(self, must_create: bool = False) -> None:
        data = dict(self._get_session(no_load=must_create))
        self._cache.set(f"{self.cache_key}.who", data.pop("who", None), self.get_expiry_age())
        self._cache.set(f"{self.cache_key}.rest", data, self.get_expiry_age())
