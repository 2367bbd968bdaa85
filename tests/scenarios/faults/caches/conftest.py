"""Pairs of caches, as in the tests of the backend."""

from tests.caches.transition.conftest import (  # noqa: F401  (fixtures)
    _first_phase,
    _table_databases,
    between,
    make,
    tally,
)
