"""The site of the session tests serves here as well."""

from tests.sessions.conftest import _site, ready, user  # noqa: F401  (fixtures)
from tests.sessions.transition.conftest import counts, fresh  # noqa: F401  (likewise)
