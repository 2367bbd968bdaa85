"""What a run reports about the time in which it followed its source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...console.reports import Fact, Mood, Verdict, record
from ...console.wording import plural, seconds_text, shortened
from ..following.follow import QUIET_SECONDS
from ..following.record import Followed
from ..result import RunResult

SHOWN_KEYS = 5


def follow_verdict(result: RunResult, followed: Followed) -> Verdict:
    """Return the verdict of a run that has followed its source to the last pass."""
    source, dest = result.plan.source.alias, result.plan.dest.alias
    if followed.late:
        changed = [f"{label} {_keys_text(keys)}" for label, keys in followed.late.items()]
        return Verdict(
            Mood.BAD,
            "STILL WRITTEN TO",
            f"After the last pass, {source!r} was written to: {shortened(changed, SHOWN_KEYS)}. Stop what writes "
            "there, and call again.",
        )
    moment = f" as of {followed.equal_at:%H:%M:%S} UTC" if followed.equal_at else ""
    return Verdict(
        Mood.GOOD,
        "EQUAL",
        f"{dest!r} equals {source!r}{moment}, and no one has written there since. Switch the site now.",
    )


def _keys_text(keys: list[str]) -> str:
    return f"({shortened(keys, SHOWN_KEYS)})" if keys else "(any row)"


def follow_facts(followed: Followed) -> Iterator[Fact]:
    """Say what the rounds have written, when all values were equal, and how long the site had to stop."""
    rounds = (
        f"{plural(followed.rounds, 'round')}, {plural(followed.rows, 'row')} written for {followed.changes:,} changes"
    )
    yield Fact("followed", rounds)
    if followed.lost_feeds:
        reasons = "; ".join(dict.fromkeys(followed.lost_feeds))
        times = plural(len(followed.lost_feeds), "time")
        yield Fact("compared again", f"all rows, {times}, because changes may have been missed: {reasons}")
    if followed.proven_at:
        yield Fact(
            "proof", f"all values equal as of {followed.proven_at:%H:%M:%S} UTC, while the site wrote", mood=Mood.GOOD
        )
    if followed.stop_seconds:
        rows = plural(followed.last_rows, "row")
        quiet = "" if followed.late else f", then {QUIET_SECONDS:.0f} s without a change"
        yield Fact("stop", f"{seconds_text(followed.stop_seconds)} for the last pass of {rows}{quiet}")


def follow_document(followed: Followed | None) -> dict[str, Any] | None:
    """Describe for programs how the source was followed."""
    if followed is None:
        return None
    return {
        **record(followed, "rounds", "changes", "keys", "carried"),
        "rows_written": followed.rows,
        "lost_feeds": list(followed.lost_feeds),
        "proven_at": _iso(followed.proven_at),
        "equal_at": _iso(followed.equal_at),
        "stop_seconds": round(followed.stop_seconds, 3),
        "rows_in_last_pass": followed.last_rows,
        "written_late": [{"label": label, "keys": keys} for label, keys in followed.late.items()],
    }


def _iso(moment: Any) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
