"""Standard streams that end nobody's work, whatever encoding the terminal has."""

import io

from migrator.console.robust_streams import robust


def test_what_the_encoding_lacks_is_escaped() -> None:
    held = io.BytesIO()
    stream = robust(io.TextIOWrapper(held, encoding="ascii"))
    stream.write("keys of shop… and ä\n")
    stream.flush()
    assert held.getvalue() == b"keys of shop\\u2026 and \\xe4\n"
