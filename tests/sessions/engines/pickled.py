"""The engine of rows that an earlier SESSION_SERIALIZER has pickled, as the README shows it."""

import pickle

from django.contrib.sessions.backends import db

from migrator.stores.pickles import loads_safely


class PickleSerializer:
    dumps = staticmethod(pickle.dumps)
    loads = staticmethod(loads_safely)


class SessionStore(db.SessionStore):
    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        self.serializer = PickleSerializer
