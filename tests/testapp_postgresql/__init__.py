"""Models that only PostgreSQL supports; installed by the tests that need them."""
