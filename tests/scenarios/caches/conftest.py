"""Pairs of caches, as in the tests of the transition."""

from tests.caches.transition.conftest import _first_phase, _table_databases, make, tally  # noqa: F401  (fixtures)
from tests.sessions.conftest import _site, ready  # noqa: F401  (likewise)
