"""A shop whose rows are moved: what `bench.rows` fills and copies."""
