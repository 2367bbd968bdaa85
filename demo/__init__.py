"""A small web shop with the quirks of a real one, and a tour (``python -m demo``) that moves it."""
