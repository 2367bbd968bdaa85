"""No text that people read changes without its diff being seen."""

from tests.texts import KEPT, texts


def test_texts_are_those_that_were_kept() -> None:
    """After a change: python -m tests.texts > tests/texts.txt"""
    assert [*texts(), ""] == KEPT.read_text(encoding="utf-8").split("\n")
