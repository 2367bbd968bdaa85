"""An engine over a cache with keys of its own making, under a prefix of its own."""

import uuid

from django.contrib.sessions.backends import cache


class SessionStore(cache.SessionStore):
    cache_key_prefix = "shop.session:"

    def _get_new_session_key(self) -> str:
        return str(uuid.uuid4())
