"""The commands as people run them: plan, questions, JSON, exit codes, and nothing that must stay secret."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.management import CommandError, call_command
from django.test import override_settings

from migrator.stores.base import digest
from tests.manage import run_manage, start_manage
from tests.servers.base import PASSWORD
from tests.sessions.places import CACHE, ROWS, Place, held, new_key, put

pytestmark = pytest.mark.redis
ENVIRONMENT = {"DJANGO_SETTINGS_MODULE": "tests.sessions.settings"}
TO_ROWS = ("copy_sessions_cache_to_db", "--source", "redis", "--dest", "sqlite_a")
COMMANDS = [
    "copy_sessions",
    "copy_sessions_cache_to_db",
    "copy_sessions_db_to_cache",
    "copy_sessions_db_to_db",
    "copy_sessions_cache_to_cache",
    "copy_cache",
    "verify_sessions",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        call_command(command, "--help")

    assert left.value.code == 0
    assert "--source" in capsys.readouterr().out


def test_shows_the_plan_and_writes_nothing(ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    key = put(CACHE, {"canary": "canary"})

    done = run_manage(*TO_ROWS, "--dry-run", env=ENVIRONMENT)

    assert (done.code, held(ROWS)) == (0, {})
    assert done.out.startswith("PLAN  Copy 1 session.\n")
    assert "DRY RUN  Nothing was written.\n" in done.out
    assert not any(secret in done.out + done.err for secret in (key, "canary", PASSWORD))


def test_asks_and_takes_silence_for_a_no(ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    put(CACHE, {})

    done = run_manage(*TO_ROWS, env=ENVIRONMENT)

    assert (done.code, held(ROWS)) == (1, {})
    assert "There is no terminal to ask on" in done.err


def test_prints_one_json_document_and_progress_beside_it(ready: Callable[..., None], tmp_path: Path) -> None:
    ready(CACHE, ROWS)
    key, bad = put(CACHE, {"secret": "c4nary"}), new_key()
    caches["redis"].set(f"django.contrib.sessions.cache{bad}", 5)

    done = run_manage(
        *TO_ROWS, "--no-input", "--format", "json", "--report", str(tmp_path / "report.html"), env=ENVIRONMENT
    )

    found = json.loads(done.out)
    assert (done.code, found["exit_code"], found["total"]["written"], found["total"]["foreign"]) == (4, 4, 1, 1)
    assert found["problems"] == [{"digest": digest(bad), "what": "it holds int, not a session"}]
    assert "sessions: 2 of 2 sessions" in done.err
    output = done.out + done.err + (tmp_path / "report.html").read_text()
    assert not any(secret in output for secret in (key, bad, "c4nary", PASSWORD))


def test_limits_matches_and_slows_down(ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    for letter in "aab":
        put(CACHE, {}, key=letter + new_key()[1:])
    started = time.monotonic()

    call_command(
        *TO_ROWS, "--no-input", "--match", "a", "--limit", "2", "--chunk-size", "1", "--rate", "4", verbosity=0
    )

    assert [key[0] for key in held(ROWS)] == ["a", "a"]
    assert time.monotonic() - started > 0.2


def test_ends_with_a_code_of_its_own_for_each_outcome(ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    put(CACHE, {})

    def code(*arguments: str) -> int:
        try:
            call_command(*arguments, verbosity=0)
        except CommandError as error:
            return error.returncode
        return 0

    compare = ("verify_sessions", "--source", "cache:redis", "--dest", "db:sqlite_a")
    assert code(*compare) == 3
    assert code(*TO_ROWS, "--no-input") == 0
    assert code(*compare) == 0
    assert code("copy_sessions_cache_to_db", "--source", "nowhere", "--dest", "sqlite_a", "--no-input") == 2
    assert code("copy_sessions_cache_to_db", "--source", "dummy", "--dest", "sqlite_a", "--no-input") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--source", "file", "--source-engine", "cache"), "The engine 'cache' does not keep sessions in files."),
        (
            ("--source", "cache:redis", "--source-model", "no.Such"),
            "--source-model is for the table of a database, and --source names another kind of store.",
        ),
        (("--source", "db:sqlite_b", "--source-model", "no.Such"), "No installed app with label 'no'. Models that are"),
    ],
)
@pytest.mark.parametrize("command", ["copy_sessions", "verify_sessions"])
def test_refuses_a_store_that_the_engine_or_the_model_does_not_fit(
    command: str, words: tuple[str, ...], message: str, ready: Callable[..., None]
) -> None:
    ready(ROWS)
    with pytest.raises(CommandError) as wrong:
        call_command(command, *words, "--dest", "db:sqlite_a", "--no-input", verbosity=0)

    assert message in str(wrong.value)
    assert wrong.value.returncode == 2


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "soon"])
def test_tolerates_only_a_number_of_seconds(text: str) -> None:
    words = ("--source", "cache:redis", "--dest", "db:sqlite_a", f"--ttl-tolerance={text}")
    with pytest.raises(CommandError, match=f"'{text}' is not a number of seconds"):
        call_command("verify_sessions", *words)


def test_finds_no_given_key_without_a_guess_that_the_stores_are_swapped(
    ready: Callable[..., None], tmp_path: Path
) -> None:
    ready(CACHE, ROWS)
    put(CACHE, {})
    put(ROWS, {})
    (tmp_path / "keys").write_text("0" * 32)

    with pytest.raises(CommandError) as nothing:
        call_command(*TO_ROWS, "--no-input", "--keys-from", str(tmp_path / "keys"))

    assert nothing.value.returncode == 3
    assert "No session was found among the given keys" in str(nothing.value)


def test_names_the_sessions_that_the_options_leave(
    ready: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    ready(CACHE, ROWS)
    for letter in "aab":
        put(CACHE, {}, key=letter + new_key()[1:])

    call_command(*TO_ROWS, "--dry-run", "--limit", "2")
    assert capsys.readouterr().out.startswith("PLAN  Copy 2 of 3 sessions.\n")
    call_command(*TO_ROWS, "--dry-run", "--match", "a")
    assert capsys.readouterr().out.startswith(
        "PLAN  Copy those of 3 sessions whose keys begin with the --match prefix.\n"
    )


def test_ends_between_pages_when_told_to_stop(ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    for _ in range(60):
        put(CACHE, {})

    with start_manage(*TO_ROWS, "--no-input", "--rate", "5", env=ENVIRONMENT) as process:
        _wait_until(lambda: bool(held(ROWS)))
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)

    assert process.returncode == 143
    assert "Run the same command again" in errors
    assert 0 < len(held(ROWS)) < 60


@pytest.mark.parametrize("manifest", [False, True])
@pytest.mark.parametrize(
    "dest",
    [
        pytest.param(ROWS, id="sqlite"),
        pytest.param(Place("db", "postgresql_a", "db"), marks=pytest.mark.postgresql, id="postgresql"),
        pytest.param(Place("cache", "client", "cache"), id="redis"),
    ],
)
def test_is_simply_run_again_after_it_was_killed(
    dest: Place, manifest: bool, ready: Callable[..., None], tmp_path: Path
) -> None:
    ready(CACHE, dest)
    keys = {put(CACHE, {"n": n}) for n in range(80)}
    kind = "cache" if dest.kind == "cache" else "db"
    words = [f"copy_sessions_cache_to_{kind}", "--source", "redis", "--dest", dest.alias, "--no-input"]
    words += ["--manifest", str(tmp_path / "manifest")] if manifest else []

    with start_manage(*words, "--chunk-size", "5", "--rate", "40", env=ENVIRONMENT) as process:
        _wait_until(lambda: len(held(dest)) > 5)
        process.kill()
        process.communicate()
    before = len(held(dest))
    done = run_manage(*words, "--format", "json", env=ENVIRONMENT)

    assert 0 < before < 80
    assert (done.code, json.loads(done.out)["total"]["written"]) == (0, 80 - before)
    assert set(held(dest)) == keys


def _wait_until(happened: Callable[[], Any]) -> None:
    for _ in range(300):
        if happened():
            return
        time.sleep(0.05)
    pytest.fail("it did not happen")


# -- any two stores ---------------------------------------------------------------------------------------------------

OLD_AND_NEW = {
    "OLD": {"ENGINE": "django.contrib.sessions.backends.cache", "CACHE": "redis"},
    "NEW": {"ENGINE": "django.contrib.sessions.backends.db", "DATABASE": "sqlite_a"},
    "PHASE": "dual_old",
}


@pytest.mark.parametrize("words", [[], ["--source", "cache:redis", "--dest", "db:sqlite_a"]], ids=["settings", "named"])
def test_copies_between_any_two_stores(words: list[str], ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    key = put(CACHE, {"canary": "canary"})
    with override_settings(MIGRATOR={"SESSIONS": OLD_AND_NEW}):
        call_command("copy_sessions", *words, "--no-input", verbosity=0)
    assert set(held(ROWS)) == {key}


@pytest.mark.parametrize(
    ("words", "settings", "message"),
    [
        (["--source", "cache:redis"], {}, "Name both stores, --source and --dest, or neither for those of MIGRATOR"),
        ([], {}, "Name both stores with --source and --dest, or set MIGRATOR['SESSIONS']."),
        (["--dest-engine", "db"], {"SESSIONS": OLD_AND_NEW}, "--dest-engine requires --source and --dest: MIGRATOR"),
        ([], {"SESSIONS": {"OLD": {}}}, "MIGRATOR['SESSIONS'] lacks 'NEW'."),
    ],
)
def test_refuses_half_of_a_copy(words: list[str], settings: Any, message: str) -> None:
    with override_settings(MIGRATOR=settings), pytest.raises(CommandError) as refused:
        call_command("copy_sessions", *words, "--no-input")
    assert refused.value.returncode == 2
    assert str(refused.value).startswith(message)
