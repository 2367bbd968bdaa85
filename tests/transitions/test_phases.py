"""Phases are read at the time they are asked for, and a roll-out gives every worker the same answer."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from django.core.exceptions import ImproperlyConfigured

from migrator.transitions import phases
from migrator.transitions.phases import (
    Phase,
    is_rolled_out,
    percentage_reader,
    phase_reader,
    steady_percentage_reader,
    steady_phase_reader,
)


@pytest.fixture
def flags(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("flags_of_a_project")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_goes_forward_and_back_one_step_at_a_time() -> None:
    assert [phase.following for phase in Phase] == ["dual_old", "dual_new", "new", None]
    assert [phase.previous for phase in Phase] == [None, "old", "dual_old", "dual_new"]
    steps = {(one, other) for one in Phase for other in Phase if one is not other and one.may_become(other)}
    forward = {(Phase.OLD, Phase.DUAL_OLD), (Phase.DUAL_OLD, Phase.DUAL_NEW), (Phase.DUAL_NEW, Phase.NEW)}
    assert steps == forward | {(other, one) for one, other in forward}


@pytest.mark.parametrize("setting", ["dual_new", Phase.DUAL_NEW, lambda: "dual_new", lambda: Phase.DUAL_NEW])
def test_reads_a_phase(setting: object) -> None:
    assert phase_reader(setting, name="PHASE")() is Phase.DUAL_NEW


@pytest.mark.parametrize("is_callable", [False, True], ids=["value", "callable"])
def test_follows_a_dotted_path_at_every_call(flags: ModuleType, is_callable: bool) -> None:
    read = phase_reader("flags_of_a_project.phase", name="PHASE")
    for phase in Phase:
        flags.phase = (lambda phase=phase: phase) if is_callable else phase.value  # type: ignore[attr-defined]
        assert read() is phase


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("newer", "PHASE is 'newer', which is not a phase; the phases are old, dual_old, dual_new, new."),
        (None, "PHASE is None, which is not a phase; the phases are old, dual_old, dual_new, new."),
        (lambda: "OLD", "PHASE is 'OLD', which is not a phase; the phases are old, dual_old, dual_new, new."),
        (
            "flags_of_nobody.phase",
            "PHASE is 'flags_of_nobody.phase', which cannot be imported: No module named 'flags_of_nobody'.",
        ),
    ],
)
def test_refuses_what_is_no_phase(setting: object, message: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        phase_reader(setting, name="PHASE")()
    assert str(caught.value) == message


def test_reads_a_percentage_at_every_call(flags: ModuleType) -> None:
    read = percentage_reader("flags_of_a_project.share", name="ROLLOUT")
    for share in (0, 0.5, 100):
        flags.share = share  # type: ignore[attr-defined]
        assert read() == share


@pytest.mark.parametrize("setting", [-1, 100.5, True, "10", None, float("nan")])
def test_refuses_what_is_no_percentage(setting: object) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^ROLLOUT is .*, which is not a number from 0 to 100\.$"):
        percentage_reader(setting, name="ROLLOUT")()


def test_rolls_out_to_about_the_share_asked_for_and_never_takes_a_key_back() -> None:
    keys = [f"key{n}" for n in range(20_000)]
    shares = (0, 0.5, 10, 50, 99, 100)
    rolled_out = [{key for key in keys if is_rolled_out(key, share)} for share in shares]
    for share, those, more in zip(shares, rolled_out, [*rolled_out[1:], set(keys)], strict=True):
        assert abs(len(those) / len(keys) * 100 - share) < 1.5
        assert those <= more
    assert not rolled_out[0]
    assert len(rolled_out[-1]) == len(keys)
    # Every process, on every machine, and after every restart.
    assert [is_rolled_out("0123456789abcdefghijklmnopqrstuv", share) for share in (21, 22)] == [False, True]


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "_last_valid", {})
    monkeypatch.setattr(phases, "_logged_at", {})


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("nonsense", ["7", 101, -1, None, True, "newer", ConnectionError("redis://:secret@host")])
def test_keeps_the_last_good_value_while_a_flag_gives_none(
    nonsense: object, flags: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    def flag() -> object:
        if isinstance(flags.value, Exception):
            raise flags.value
        return flags.value

    for reader, good, name in (
        (steady_phase_reader, "dual_old", "PHASE"),
        (steady_percentage_reader, 12.5, "ROLLOUT"),
    ):
        caplog.clear()
        flags.value = good  # type: ignore[attr-defined]
        reader(flag, name=name)()
        flags.value = nonsense  # type: ignore[attr-defined]

        assert [reader(flag, name=name)() for _ in range(3)] == [good] * 3
        (record,) = caplog.records
        assert record.getMessage().startswith(name)
        assert record.getMessage().endswith(f"The last valid value is used: {good}.")
        assert "secret" not in caplog.text
        flags.value = good  # type: ignore[attr-defined]
        assert reader(flag, name=name)() == good


@pytest.mark.usefixtures("forgotten")
def test_without_a_last_good_value_nothing_is_rolled_out_and_no_phase_is_guessed() -> None:
    assert steady_percentage_reader(lambda: "7", name="ROLLOUT")() == 0
    with pytest.raises(ImproperlyConfigured):
        steady_phase_reader(lambda: "newer", name="PHASE")()
    with pytest.raises(ImproperlyConfigured):
        steady_percentage_reader(101, name="ROLLOUT")()


class Flag:
    """A callable of a kind that cannot be hashed, as a dataclass is."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return self is other

    def __call__(self) -> object:
        return self.value


@pytest.mark.usefixtures("forgotten")
def test_a_callable_may_be_of_any_kind() -> None:
    flag, other = Flag("dual_new"), Flag("newer")
    read = steady_phase_reader(flag, name="PHASE")
    assert read() == "dual_new"
    flag.value = "newer"
    assert steady_phase_reader(flag, name="PHASE")() == "dual_new"
    with pytest.raises(ImproperlyConfigured):
        steady_phase_reader(other, name="PHASE")()


@pytest.mark.usefixtures("forgotten")
def test_a_coroutine_function_is_refused() -> None:
    async def flag() -> str:
        return "old"

    with pytest.raises(ImproperlyConfigured, match="PHASE is a coroutine function"):
        steady_phase_reader(flag, name="PHASE")()
