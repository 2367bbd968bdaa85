"""An engine whose class has another name, and so another salt."""

from django.contrib.sessions.backends import db


class OurStore(db.SessionStore):
    pass


SessionStore = OurStore
