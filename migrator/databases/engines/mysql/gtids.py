"""MySQL: sets of GTIDs, which name the transactions that a server has executed, or is about to commit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..base.session import DatabaseSession

# By UUID, intervals of numbers with both ends.
GTIDs = Mapping[str, Sequence[tuple[int, int]]]

INTERVAL = re.compile(r"(\d+)(?:-(\d+))?$")


def executed_gtids(session: DatabaseSession) -> GTIDs:
    """Return the transactions that every snapshot sees which begins from now on."""
    return parse_gtids(str(session.fetch_value("SELECT @@GLOBAL.gtid_executed")))


def owned_gtids(session: DatabaseSession) -> set[str]:
    """Return the numbers of transactions that are being committed, each with its session."""
    return set(re.findall(r"\d+#\d+", str(session.fetch_value("SELECT @@GLOBAL.gtid_owned"))))


def parse_gtids(text: str) -> GTIDs:
    """Parse a set such as ``uuid:1-5:7, uuid:1-3:tag:1-2``, without those with tags (MySQL manual, "GTID Sets")."""
    found: dict[str, list[tuple[int, int]]] = {}
    for part in text.replace("\n", "").split(","):
        source, *intervals = part.strip().split(":")
        has_tag = False
        for interval in intervals:
            match = INTERVAL.match(interval)
            has_tag = has_tag or match is None
            if match and not has_tag:
                first = int(match[1])
                found.setdefault(source.lower(), []).append((first, int(match[2] or first)))
    return found


def has_gtid(gtids: GTIDs, gtid: str | None) -> bool:
    """Whether a set has one GTID, such as ``uuid:7``; ``None`` is in no set."""
    if gtid is None:
        return False
    source, _, number = gtid.rpartition(":")
    return any(first <= int(number) <= last for first, last in gtids.get(source.lower(), ()))
