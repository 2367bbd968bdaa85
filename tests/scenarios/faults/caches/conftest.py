"""Pairs of caches, as in the tests of the backend."""

from tests.caches.transition.conftest import _first_phase, _table_databases, make, tally  # noqa: F401  (fixtures)
