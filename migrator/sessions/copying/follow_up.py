"""``--follow-up``: which pass is due, shown by where the settings keep the site's sessions."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

from django.conf import settings

from ...errors import MigratorError, Refused, UsageError
from ..endpoints import SessionEndpoint
from ..engines import TRANSITION, engine_class, keeps_files, keeps_rows
from ..hidden_sessions import site_place
from ..records import CopyOptions, End
from ..stores.base import BaseSessionStore

# How often a pass before the switch is repeated at most, until one changes nothing.
CATCH_UP = 5


def followed(options: CopyOptions, source: BaseSessionStore, dest: BaseSessionStore) -> CopyOptions:
    """Return the options with the passes that ``follow_up`` stands for; without it, the options as they are.

    Raises :exc:`UsageError` if the options name the passes as well, :exc:`Refused` if the site uses neither store.
    """
    if options.follow_up is None:
        return options
    named = {"--manifest": options.manifest, "--catch-up": options.catch_up, "--after-switch": options.after_switch}
    if given := [flag for flag, value in named.items() if value]:
        raise UsageError(
            f"--follow-up chooses the passes itself: leave out {' and '.join(given)}. Nothing was written."
        )
    if _has_switched(source, dest):
        return replace(options, manifest=options.follow_up, after_switch=True)
    if options.end_missed:
        raise UsageError(
            f"--end-missed is for the pass after the switch, but these settings keep the site's sessions "
            f"{site_place()}, the source of this copy. Nothing was written."
        )
    return replace(options, manifest=options.follow_up, catch_up=CATCH_UP)


def _has_switched(source: BaseSessionStore, dest: BaseSessionStore) -> bool:
    """Whether the settings keep the site's sessions in the destination; raise :exc:`Refused` if in neither store."""
    used = _site_identities()
    if used & dest.identities():
        return True
    if used & source.identities():
        return False
    if settings.SESSION_ENGINE.startswith(TRANSITION):
        advice = "A transition writes both stores itself: copy without --follow-up."
    else:
        advice = (
            "Run it with the settings of the site; or pass --manifest FILE, and --after-switch once all traffic uses "
            "the destination."
        )
    raise Refused(
        f"--follow-up cannot see whether the site has switched: SESSION_ENGINE keeps its sessions {site_place()}, "
        f"which is neither end of this copy. {advice} Nothing was written."
    )


def _site_identities() -> frozenset[str]:
    """Return the names of the store in which these settings keep sessions; none if it cannot be opened."""
    name = settings.SESSION_ENGINE
    if name.startswith(TRANSITION):
        return frozenset()
    try:
        engine = engine_class(name)
        kind = "file" if keeps_files(engine) else "db" if keeps_rows(engine) else "cache"
        with closing(SessionEndpoint(End(kind, engine=name)).open()) as store:
            return store.identities()
    except MigratorError:  # a store that cannot be copied is neither end of a copy
        return frozenset()
