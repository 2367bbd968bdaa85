"""The site of the session tests serves here as well."""

from tests.sessions.conftest import _site, client, ready, user  # noqa: F401  (fixtures)
