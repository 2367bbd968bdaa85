"""Models that only PostgreSQL can have; installed by the tests that need them."""
