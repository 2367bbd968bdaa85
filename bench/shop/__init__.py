"""The shop that `bench.rows` fills and moves."""
