"""What is checked before the first session is written: a copy that cannot succeed does not begin."""

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
# Fewer logins with a wrong hash may all belong to users who have changed their passwords elsewhere.
LOGINS_NEEDED = 3


def check_options(options: CopyOptions, dest: BaseSessionStore) -> None:
    """Raise :exc:`UsageError` or :exc:`Refused` for options that cannot be used together, or with this destination."""
    if options.no_ttl == "keep" and not dest.keeps_forever:
        raise UsageError("--no-ttl keep needs a cache as destination: rows and files always have an expiry.")
    if (options.manifest or options.catch_up) and not dest.can_list_keys:
        raise Refused(
            f"The keys of {dest.label()} cannot be listed, so no pass could end there what the source has ended. "
            "Copy without --follow-up, --manifest and --catch-up. Nothing was written."
        )
    if options.end_missed and not options.after_switch:
        raise UsageError(
            "--end-missed needs --follow-up or --after-switch: it ends sessions that were used in both stores."
        )
    if options.after_switch and not options.manifest:
        raise UsageError("--after-switch needs the --manifest FILE of the earlier passes, which shows what they wrote.")


def check_stores(source: BaseSessionStore, dest: BaseSessionStore) -> None:
    """Raise :exc:`Refused` if both ends are the same store, or if nothing can be written."""
    check_stores_differ(source, dest, "Source and destination", " Nothing was written.")
    check_keys(source, dest)
    check_sight(source, dest)
    check_complete(source)
    if isinstance(dest, SessionTableStore):
        dest.spare_front_cache(source)
    check_not_protected(dest)
    if reason := dest.refusal():
        raise Refused(f"Nothing can be written to {dest.label()}: {reason}.")


def check_keys(source: BaseSessionStore, dest: BaseSessionStore) -> None:
    """Raise :exc:`Refused` if the two engines store the session of a cookie under different keys."""
    one, other = (kept_key(type(store.engine)) for store in (source, dest))
    if one != other:
        found = source if one != PROBE_KEY else dest
        name = f"{type(found.engine).__module__}.{type(found.engine).__qualname__}"
        raise Refused(
            f"{name} stores sessions under other keys than those of the cookies, such as a hash, and the other engine "
            f"does not: everyone would be logged out. Source: {source.label()}. Destination: {dest.label()}. With "
            "--source-engine and --dest-engine, name engines that make the same keys. Nothing was written."
        )


def check_complete(source: BaseSessionStore) -> None:
    """Raise :exc:`Refused` for a database that is the destination of an unfinished run of ``batch_migrate``."""
    for alias in sorted(source.databases()):
        if holds_unfinished_run(engine_for(connections[alias])):
            raise Refused(f"{alias!r}: {UNFINISHED}. {END_IT_FIRST.format(alias=alias)} Nothing was written.")


def check_sight(*stores: BaseSessionStore) -> None:
    """Raise :exc:`Refused` for a store that shows only some of its sessions."""
    for store in stores:
        if reason := store.blind_spot():
            raise Refused(f"Not all sessions of {store.label()} can be seen: {reason}. Nothing was written.")


def check_counts(
    source: BaseSessionStore, dest: BaseSessionStore, in_source: int | None, in_dest: int | None, missing: str
) -> None:
    """Raise :exc:`Refused` for ends that look swapped; ``missing`` says which keys were searched in an empty source."""
    if in_source == 0 and in_dest:
        raise Refused(
            f"The source has no sessions and the destination has {in_dest:,}: are the two ends swapped? "
            f"Source: {source.label()}. Destination: {dest.label()}. {missing} Nothing was written."
        )


def check_not_emptied(
    source: BaseSessionStore, dest: BaseSessionStore, in_source: int | None, in_dest: int | None
) -> None:
    """Raise :exc:`Refused` for a last pass over an empty source, which may have been emptied."""
    if in_source == 0 and in_dest:
        raise Refused(
            f"The source has no sessions any more: {source.label()}. If it was emptied, this pass would end the "
            f"sessions of everyone who has not been back since the switch: {dest.label()} has {in_dest:,}. If every "
            "session ended there, such as by a logout, run the same command with --end-missed. Nothing was written."
        )


def check_sample(source: BaseSessionStore, options: CopyOptions) -> None:
    """Read the first sessions. Raises :exc:`Refused` if none can be read, or if none of their logins is valid."""
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
    advice = "Check the cache's serializer, and use --trust-pickle only if no one else can write to the cache."
    if source.keeps_text:
        advice = (
            "They were saved with another SESSION_SERIALIZER: with --source-engine, name an engine of your own with "
            "that serializer (documentation: Sessions of another serializer)."
        )
    if signatures:
        advice = (
            "Add the key that signed them to SECRET_KEY_FALLBACKS, or name the engine that saved them "
            "with --source-engine."
        )
    raise Refused(
        f"None of the first {plural(len(sample), 'session')} can be read: {why}. {advice} "
        "With --allow-unreadable the copy continues, and lists the sessions that cannot be read."
    )


def _check_logins(readable: list[Data]) -> None:
    """Raise :exc:`Refused` if all logins among the first sessions were made with another secret key."""
    logins = [data for data in readable if data.get(SESSION_KEY) and data.get(HASH_SESSION_KEY)]
    try:
        users: dict[str, Any] = {
            str(user.pk): user
            for user in get_user_model()._base_manager.filter(pk__in=[data[SESSION_KEY] for data in logins])
        }
    except (DatabaseError, ValueError, TypeError, ImproperlyConfigured):
        return  # the users are not in this database, so logins cannot be checked
    known = [(users[str(data[SESSION_KEY])], data) for data in logins if str(data[SESSION_KEY]) in users]
    if len(known) >= LOGINS_NEEDED and not any(_is_valid(user, data[HASH_SESSION_KEY]) for user, data in known):
        raise Refused(
            f"None of the {len(known)} logins among the first sessions was made with this project's SECRET_KEY: "
            "everyone would be logged out. Add the old key to SECRET_KEY_FALLBACKS. "
            "With --allow-unreadable the copy continues."
        )


def _is_valid(user: Any, login: str) -> bool:
    if not hasattr(user, "get_session_auth_hash"):
        return True
    hashes = [user.get_session_auth_hash()]
    if hasattr(user, "get_session_auth_fallback_hash"):
        hashes += user.get_session_auth_fallback_hash()
    return any(constant_time_compare(login, known) for known in hashes)
