"""What a database says of a row, as it is shown."""

from migrator.databases.engines.base.errors import Fault


def test_a_message_is_one_line_without_controls() -> None:
    """A trigger may say anything, such as the last line of a report."""
    assert Fault("45000", "no\n0 errors.\r\x1b[2J").message == r"no\n0 errors.\r\x1b[2J"
