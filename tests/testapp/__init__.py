"""The models whose rows the tests move: one small model per thing that has gone wrong for somebody."""
