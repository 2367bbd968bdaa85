"""`check --deploy` stops a deploy that would skip a phase."""

from collections.abc import Callable

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from migrator.clock import now
from migrator.sessions.transition.session_metrics import session_metrics
from migrator.transitions.metrics_storage import Sums
from migrator.transitions.phases import Phase
from tests.sessions.transition.pairs import REDIS, SQLITE, site_of

pytestmark = pytest.mark.redis
OLD, DUAL_OLD, DUAL_NEW, NEW = Phase


def reported(*, deploy: bool = True) -> list[str]:
    found = run_checks(tags=["migrator"], include_deployment_checks=deploy)
    return [f"{message.msg} {message.hint}" for message in found if message.id == "migrator.E050"]


@pytest.mark.parametrize(
    ("before", "phase", "first"),
    [
        (OLD, NEW, "dual_old"),
        (OLD, DUAL_NEW, "dual_old"),
        (NEW, OLD, "dual_new"),
        (NEW, DUAL_OLD, "dual_new"),
        (OLD, DUAL_OLD, None),
        (DUAL_NEW, NEW, None),
        (NEW, DUAL_NEW, None),
        (NEW, NEW, None),
    ],
)
def test_tells_a_jump(fresh: Callable[..., None], before: Phase, phase: Phase, first: str | None) -> None:
    with site_of(REDIS, SQLITE, fresh=fresh) as site:
        session_metrics().reset()
        session_metrics().storage.add("sessions", Sums({(before, "miss"): 1}))
        site.phase = phase

        found = reported()

    assert len(found) == (first is not None)
    if first:
        assert f"workers were last seen in {before.value!r}" in found[0]
        assert f"Deploy {first!r} first, " in found[0]


@pytest.mark.parametrize(("phase", "share"), [(DUAL_NEW, 0.0), (DUAL_OLD, 5.0)])
def test_tells_of_workers_two_phases_apart_while_others_are_nearer(
    fresh: Callable[..., None], phase: Phase, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site_of(REDIS, SQLITE, fresh=fresh) as site:
        session_metrics().reset()
        site.phase, site.share = phase, share
        for ago, found in ((400, []), (100, [f"{'ROLLOUT' if share else 'PHASE'}'] is"])):
            monkeypatch.setattr("migrator.transitions.metrics_storage.now", lambda ago=ago: now() - ago * 1_000_000)
            session_metrics().storage.add("sessions", Sums({(OLD, "miss"): 1}))
            monkeypatch.setattr("migrator.transitions.metrics_storage.now", now)
            session_metrics().storage.add("sessions", Sums({(DUAL_OLD, "miss"): 1}))

            messages = reported()

            assert len(messages) == len(found)
            assert all(word in message for word, message in zip(found, messages, strict=True))


def test_is_silent_without_counts_and_without_being_asked(fresh: Callable[..., None]) -> None:
    with site_of(REDIS, SQLITE, fresh=fresh) as site:
        session_metrics().reset()
        site.phase = NEW
        assert reported() == []

        session_metrics().storage.add("sessions", Sums({(OLD, "miss"): 1}))
        assert reported(deploy=False) == []


def test_is_silent_where_the_counts_cannot_be_read(fresh: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ConnectionError

    with site_of(REDIS, SQLITE, fresh=fresh):
        monkeypatch.setattr(session_metrics().storage, "read", fail)
        assert reported() == []


@pytest.mark.parametrize("migrator", [{}, {"SESSIONS": {"OLD": 1}}])
def test_is_silent_without_a_change(migrator: dict[str, object]) -> None:
    with override_settings(MIGRATOR=migrator):
        assert reported() == []
