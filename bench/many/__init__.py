"""As many tables as MIGRATOR_BENCH_TABLES says, which `bench.size` moves."""
