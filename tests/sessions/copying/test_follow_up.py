"""``--follow-up``: the settings of the site show which pass is due; where they do not, nothing is guessed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from migrator.errors import Refused, UsageError
from migrator.sessions.copying.run import CopyResult, copy_sessions
from migrator.sessions.records import CopyOptions
from tests.sessions.copying.test_passes import WAYS, end, save
from tests.sessions.places import CACHE, ROWS, Place, data_of, put

pytestmark = pytest.mark.redis
FILES = Place("file", "files", "file")


def copy(source: Place, dest: Place, file: Path, **options: Any) -> CopyResult:
    return copy_sessions(source=source.end, dest=dest.end, options=CopyOptions(follow_up=file, **options))


@pytest.mark.parametrize(("source", "dest"), [*WAYS, pytest.param(ROWS, FILES, id="sqlite-to-files")])
def test_one_command_follows_the_source_and_after_the_switch_spares_what_the_destination_did(
    source: Place, dest: Place, ready: Callable[..., None], tmp_path: Path
) -> None:
    ready(source, dest)
    kept, ended_early, ended_late, ended_there = (put(source, {"n": n}) for n in range(4))
    file = tmp_path / "moved"

    with source.in_use():
        assert copy(source, dest, file).total.written == 4
        end(source, ended_early)
        assert copy(source, dest, file).total.removed == 1
    save(source, kept, {"n": "saved late"})
    end(source, ended_late)
    end(dest, ended_there)
    born_there = put(dest, {"n": "born there"})
    with dest.in_use():
        total = copy(source, dest, file).total

    assert (total.refreshed, total.removed, total.ended) == (1, 1, 1)
    assert data_of(dest) == {kept: {"n": "saved late"}, born_there: {"n": "born there"}}


def test_repeats_passes_before_the_switch_until_one_changes_nothing(ready: Callable[..., None], tmp_path: Path) -> None:
    ready(ROWS, CACHE)
    put(ROWS, {})

    with ROWS.in_use():
        result = copy(ROWS, CACHE, tmp_path / "moved")

    assert [counts.written for counts in result.passes] == [1, 0]


def test_guesses_nothing_if_the_site_uses_neither_store(ready: Callable[..., None], tmp_path: Path) -> None:
    ready(ROWS, CACHE)
    put(ROWS, {})

    with FILES.in_use(), pytest.raises(Refused, match=r"which is neither end of this copy\. Run it with the settings"):
        copy(ROWS, CACHE, tmp_path / "moved")
    with (
        override_settings(SESSION_ENGINE="migrator.sessions.transition"),
        pytest.raises(Refused, match="A transition writes both stores itself: copy without --follow-up"),
    ):
        copy(ROWS, CACHE, tmp_path / "moved")

    assert not (tmp_path / "moved").exists()
    assert data_of(CACHE) == {}


def test_refuses_the_first_pass_after_the_switch(ready: Callable[..., None], tmp_path: Path) -> None:
    """It could not tell what the destination ended from what it never had."""
    ready(ROWS, CACHE)
    put(ROWS, {})

    with CACHE.in_use(), pytest.raises(Refused, match="notes no completed pass from before the switch"):
        copy(ROWS, CACHE, tmp_path / "moved", dry_run=True)

    assert not (tmp_path / "moved").exists()


def test_refuses_settings_from_before_the_switch_after_a_pass_after_it(
    ready: Callable[..., None], tmp_path: Path
) -> None:
    """As on a host that has not been deployed to: its pass would bring back logouts."""
    ready(ROWS, CACHE)
    key = put(ROWS, {})
    file = tmp_path / "moved"
    with ROWS.in_use():
        copy(ROWS, CACHE, file)
    with CACHE.in_use():
        copy(ROWS, CACHE, file)
    end(CACHE, key)

    with ROWS.in_use(), pytest.raises(Refused, match="notes a pass after the switch"):
        copy(ROWS, CACHE, file)

    assert data_of(CACHE) == {}


@pytest.mark.parametrize("named", [{"manifest": Path("other")}, {"catch_up": 2}, {"after_switch": True}])
def test_refuses_passes_that_are_named_as_well(named: Any, ready: Callable[..., None], tmp_path: Path) -> None:
    ready(ROWS, CACHE)
    flag = f"--{next(iter(named)).replace('_', '-')}"

    with ROWS.in_use(), pytest.raises(UsageError, match=f"leave out {flag}"):
        copy(ROWS, CACHE, tmp_path / "moved", **named)


def test_ends_missed_logouts_only_after_the_switch(ready: Callable[..., None], tmp_path: Path) -> None:
    ready(ROWS, CACHE)
    key = put(ROWS, {"n": 1})
    put(ROWS, {"n": 2})
    file = tmp_path / "moved"
    with ROWS.in_use():
        copy(ROWS, CACHE, file)
        with pytest.raises(UsageError, match="--end-missed is for the pass after the switch"):
            copy(ROWS, CACHE, file, end_missed=True)
    save(CACHE, key, {"n": "saved there"})
    end(ROWS, key)

    with CACHE.in_use():
        assert copy(ROWS, CACHE, file).total.missed == 1
        assert copy(ROWS, CACHE, file, end_missed=True).total.removed == 1

    assert list(data_of(CACHE).values()) == [{"n": 2}]
