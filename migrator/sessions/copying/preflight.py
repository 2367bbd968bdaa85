"""What is asked before the first session is written: a copy that could not be right does not begin."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections
from django.utils.crypto import constant_time_compare

from ...console.wording import plural
from ...databases.engines.registry import engine_for
from ...databases.journal.checks import holds_unfinished_run
from ...databases.planning.hidden_rows import END_IT_FIRST, UNFINISHED
from ...errors import Refused, UsageError
from ...stores.base import Record, RecordProblem
from ...stores.copying.preflight import check_not_protected, check_stores_differ
from ..codec import BadSignature, Data, UnreadableSession
from ..engines import PROBE_KEY, kept_key
from ..records import CopyOptions
from ..stores.table import SessionTableStore

if TYPE_CHECKING:
    from ..stores.base import BaseSessionStore

SAMPLE = 50
# Fewer logins that do not fit may each have changed their password elsewhere.
LOGINS_THAT_TELL = 3


def check_options(options: CopyOptions, dest: BaseSessionStore) -> None:
    """Raise :exc:`UsageError` for options that cannot be right together."""
    if options.no_ttl == "keep" and not dest.keeps_forever:
        raise UsageError("--no-ttl keep needs a cache as destination: every row and every file has an expiry.")
    if (options.manifest or options.catch_up) and not dest.can_list_keys:
        raise Refused(
            f"The keys of {dest.label()} cannot be listed, so that no pass could end there what the source has ended. "
            "Copy without --manifest and --catch-up. Nothing was written."
        )
    if options.end_missed and not options.after_switch:
        raise UsageError("--end-missed belongs to --after-switch: it ends sessions that both sides have had in use.")
    if options.after_switch and not options.manifest:
        raise UsageError(
            "--after-switch needs the --manifest FILE of the passes before: it tells whose sessions are whose."
        )


def check_stores(source: BaseSessionStore, dest: BaseSessionStore) -> None:
    """Raise :exc:`Refused` if both ends are the same store, or if nothing can be written."""
    check_stores_differ(source, dest, "Source and destination", " Nothing was written.")
    check_keys(source, dest)
    check_sight(source, dest)
    check_complete(source)
    if isinstance(dest, SessionTableStore):
        dest.spare_shadow_of(source)
    check_not_protected(dest)
    if reason := dest.refusal():
        raise Refused(f"Nothing can be written to {dest.label()}: {reason}.")


def check_keys(source: BaseSessionStore, dest: BaseSessionStore) -> None:
    """Raise :exc:`Refused` where the two engines look for the session of a cookie under different keys."""
    one, other = (kept_key(type(store.engine)) for store in (source, dest))
    if one != other:
        found = source if one != PROBE_KEY else dest
        name = f"{type(found.engine).__module__}.{type(found.engine).__qualname__}"
        raise Refused(
            f"{name} keeps sessions under other keys than those of the cookies, such as a hash, and the other engine "
            f"does not look for them there: everybody would be logged out. Source: {source.label()}. Destination: "
            f"{dest.label()}. Name engines that make the same keys with --source-engine and --dest-engine. "
            "Nothing was written."
        )


def check_complete(source: BaseSessionStore) -> None:
    """Raise :exc:`Refused` for a database whose rows a run of ``batch_migrate`` has not all brought there."""
    for alias in sorted(source.databases()):
        if holds_unfinished_run(engine_for(connections[alias])):
            raise Refused(f"{alias!r}: {UNFINISHED}. {END_IT_FIRST.format(alias=alias)} Nothing was written.")


def check_sight(*stores: BaseSessionStore) -> None:
    """Raise :exc:`Refused` for a place that shows only a part of its sessions."""
    for store in stores:
        if reason := store.blind_spot():
            raise Refused(f"Not all sessions of {store.label()} can be seen: {reason}. Nothing was written.")


def check_counts(
    source: BaseSessionStore, dest: BaseSessionStore, in_source: int | None, in_dest: int | None, missing: str
) -> None:
    """Raise :exc:`Refused` for ends that look swapped; ``missing`` says what was looked for in an empty source."""
    if in_source == 0 and in_dest:
        raise Refused(
            f"The source has no sessions and the destination has {in_dest:,}: are the two ends swapped? "
            f"Source: {source.label()}. Destination: {dest.label()}. {missing} Nothing was written."
        )


def check_not_emptied(
    source: BaseSessionStore, dest: BaseSessionStore, in_source: int | None, in_dest: int | None
) -> None:
    """Raise :exc:`Refused` for a last pass over a source that holds nothing: it may have been emptied."""
    if in_source == 0 and in_dest:
        raise Refused(
            f"The source holds no session any more: {source.label()}. If it was emptied, this pass would end the "
            f"sessions of all who have not been back since the switch: {dest.label()} holds {in_dest:,}. If each one "
            "ended there, as by a logout, run the same command with --end-missed. Nothing was written."
        )


def check_sample(source: BaseSessionStore, options: CopyOptions) -> None:
    """Read the first sessions; raise :exc:`Refused` where none can be read, or none of their logins fits."""
    sample = next(source.pages(SAMPLE), [])[:SAMPLE]
    reasons: Counter[str] = Counter()
    signatures = 0
    readable = []
    for session in sample:
        try:
            readable.append(source.load(session))
        except (UnreadableSession, RecordProblem) as error:
            reasons[str(error)] += 1
            signatures += isinstance(error, BadSignature)
    if options.allow_unreadable or not sample:
        return
    if not readable:
        _refuse_unreadable(source, sample, reasons, signatures)
    _check_logins(readable)


def _refuse_unreadable(source: BaseSessionStore, sample: list[Record], reasons: Counter[str], signatures: int) -> None:
    why = "; ".join(f"{count} because {reason}" for reason, count in reasons.most_common(3))
    advice = "Look at the cache's serializer, and use --trust-pickle only where nobody else can write there."
    if source.keeps_text:
        advice = (
            "They were saved with another SESSION_SERIALIZER: name with --source-engine an engine of your own whose "
            "serializer that is (README: Sessions of another serializer)."
        )
    if signatures:
        advice = (
            "Put the key that signed them into SECRET_KEY_FALLBACKS, or name the engine that saved them "
            "with --source-engine."
        )
    raise Refused(
        f"None of the first {plural(len(sample), 'session')} can be read: {why}. {advice} "
        "With --allow-unreadable the copy goes on and lists those that cannot be read."
    )


def _check_logins(readable: list[Data]) -> None:
    """Raise where every login among the first sessions was made with another secret key."""
    logins = [data for data in readable if data.get(SESSION_KEY) and data.get(HASH_SESSION_KEY)]
    try:
        users: dict[str, Any] = {
            str(user.pk): user
            for user in get_user_model()._base_manager.filter(pk__in=[data[SESSION_KEY] for data in logins])
        }
    except (DatabaseError, ValueError, TypeError, ImproperlyConfigured):
        return  # the users live elsewhere, or there are none, and only they could tell
    known = [(users[str(data[SESSION_KEY])], data) for data in logins if str(data[SESSION_KEY]) in users]
    if len(known) >= LOGINS_THAT_TELL and not any(_fits(user, data[HASH_SESSION_KEY]) for user, data in known):
        raise Refused(
            f"None of the {len(known)} logins among the first sessions was made with this project's SECRET_KEY: "
            "everybody would be logged out. Put the old key into SECRET_KEY_FALLBACKS. "
            "With --allow-unreadable the copy goes on."
        )


def _fits(user: Any, login: str) -> bool:
    if not hasattr(user, "get_session_auth_hash"):
        return True
    hashes = [user.get_session_auth_hash()]
    if hasattr(user, "get_session_auth_fallback_hash"):
        hashes += user.get_session_auth_fallback_hash()
    return any(constant_time_compare(login, known) for known in hashes)
