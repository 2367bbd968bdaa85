"""Redis, Valkey and their like."""
