"""The caches of the session tests serve here as well."""

from tests.sessions.conftest import _site, ready  # noqa: F401  (fixtures)
