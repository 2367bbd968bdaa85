"""One word for one thing: these words may not come back into what people read."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from settings.base import ROOT

# A regular expression of a word or phrase, and what to say instead.
BANNED = {
    r"t(?:ell|ells|old|elling)": "report, list, show, print; Return …, Whether … in a docstring",
    r"t(?:ake|akes|aken|aking|ook) (?:\w+ ){0,3}off|put(?:s|ting)? (?:\w+ ){0,3}back": "drop, recreate, restore",
    r"anew|ma[dk]es? new (?!authoritative)": "again; rebuild",
    r"mend(?:s|ed|ing)?": "fix",
    r"set(?:s|ting)? aside": "reject",
    r"cut(?:s|ting)? off": "interrupt",
    r"g(?:ave|ive|ives|iven|iving) up": "abandon",
    r"(?:held|hold|holds|holding) (?:\w+ ){0,3}against": "compare with",
    r"look(?:s|ed|ing)? (?:\w+ )?at": "check",
    r"(?:out of|within) reach": "unreachable, reachable",
    r"(?<!there )(?:is|are|was|be) no (?!longer\b|more\b|less\b)\w+": "is not a …, has no …",
    r"(?<!there )(?:is|was|has|have) (?-i:none)": "is not one, has no …",
    r"where there (?:is|are) (?:no|none)": "if there is no …",
    r"but for": "except",
    r"whoever|nobody|nought|lest|whilst|hence(?:forth)?|thereby|whereof|thereof|herein": "name the actor; plain words",
    r"nor (?:do|does|did|is|are|was|has|have|can)": "and … not",
    r"shall": "will, must",
    r"beside": "next to, in addition to",
    r"forth and back|all the same|one and the same": "leave it out",
    r"spell(?:s|ed|ing|ings)?": "format, text form",
    r"points? nowhere|dangl(?:e|es|ing)": "orphan",
    r"twins?|crew": "second session; workers",
    r"tall(?:y|ies)": "counts",
    r"s(?:ays?|aid) (?:so|of)": "report",
    r"for want of": "for lack of",
    r"le(?:ads?|d) to a row": "has a parent row",
}
ANY = re.compile(rf"\b(?:{'|'.join(BANNED)})\b", re.IGNORECASE)
# Names that are stored, or that somebody else chose.
ALLOWED = re.compile(
    r"TALLY|\btally\(\)|migrator\.tally|\|tally\\|[\"'`](?:tally|dangling|tallies)[\"'`]|!nobody can log in"
)
PYTHON = ("migrator", "demo", "bench", "settings", "docs")
GENERATED = ("docs/_build/", "docs/reference/generated/")
PROSE = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def documents() -> list[str]:
    """Return the documents and templates that people wrote, as paths within the project."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("migrator/**/*.html")]
    paths = [str(path.relative_to(ROOT)) for path in found]
    return sorted(path for path in paths if not path.startswith(GENERATED))


def lines() -> Iterator[tuple[str, str]]:
    """Yield each line of a document, a string, a docstring or a comment, after its place."""
    for name in documents():
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), 1):
            yield f"{name}:{number}", line
    for folder in PYTHON:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield from of_module(path)


def of_module(path: Path) -> Iterator[tuple[str, str]]:
    with io.StringIO(path.read_text(encoding="utf-8")) as source:
        for token in tokenize.generate_tokens(source.readline):
            if token.type in PROSE:
                for number, line in enumerate(token.string.splitlines(), token.start[0]):
                    yield f"{path.relative_to(ROOT)}:{number}", line


def test_texts_use_the_terms_of_the_field() -> None:
    found = [
        f"{place}: {match[0]!r} (instead: {instead})"
        for place, line in lines()
        if ANY.search(text := ALLOWED.sub("", line))
        for banned, instead in BANNED.items()
        for match in re.finditer(rf"\b(?:{banned})\b", text, re.IGNORECASE)
    ]
    assert found == []
