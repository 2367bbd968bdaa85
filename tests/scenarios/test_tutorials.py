"""Each tutorial of the documentation works as it is written, with the output that it shows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connections

from settings.base import ROOT
from tests.tutorials import FIRST_REDIS, SECOND, Block, Reader, assert_shown, blocks, masked

TUTORIALS = sorted((ROOT / "docs" / "tutorial").glob("*.md"))
SERVERS = {"postgresql": "postgresql", "mysql": "mysql", "redis://": "redis", "PyMemcacheCache": "memcached"}


def parameters() -> Iterator[object]:
    for path in TUTORIALS:
        settings_in_it = "".join(block.text for block in blocks(path.read_text()) if block.language == "python")
        needed = [marker for word, marker in SERVERS.items() if word in settings_in_it]
        yield pytest.param(path, needed, id=path.stem, marks=[getattr(pytest.mark, marker) for marker in needed])


@pytest.fixture
def reader(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Reader]:
    """Return a reader with empty databases on the servers that the tutorial needs."""
    needed: list[str] = request.getfixturevalue("needed")
    name = f"migrator_test_{settings.RUN}_tutorial"
    aliases = [f"{engine}_a" for engine in ("postgresql", "mysql") if engine in needed]
    for alias, database in product(aliases, (name, name + SECOND)):
        with connections[alias]._nodb_cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {database}")
    yield Reader(tmp_path, name)
    for alias, database in product(aliases, (name, name + SECOND)):
        with connections[alias]._nodb_cursor() as cursor:
            cursor.execute(f"DROP DATABASE {database}")
    if "redis" in needed:
        from redis import Redis

        for number in range(FIRST_REDIS, FIRST_REDIS + 6):
            with Redis.from_url(f"{os.environ['MIGRATOR_TEST_REDIS'].rstrip('/')}/{number}") as client:
                client.flushdb()


@pytest.mark.slow
@pytest.mark.parametrize(("path", "needed"), list(parameters()))
def test_a_tutorial_works_as_it_is_written(path: Path, needed: list[str], reader: Reader) -> None:
    reader.follow(path.read_text(encoding="utf-8"))


DOCUMENT = """
A file, a command and its output:

```python
# shop/numbers.py
print("two", 2)
```

```console
$ python shop/numbers.py
```

```text
two
2
```

<!-- not run -->
```console
$ false
```

```console
$ export NAME=x && cd shop
$ test $NAME$(basename $PWD) = xshop
$ false  # exit code 1
```
"""


def test_a_reader_writes_files_types_commands_and_compares_their_output(tmp_path: Path) -> None:
    Reader(tmp_path, "").follow(DOCUMENT)
    assert (tmp_path / "shop" / "numbers.py").read_text().strip() == '# shop/numbers.py\nprint("two", 2)'


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("two\n2", "two\n3", "shows, masked:\ntwo 3"),
        ("two\n2", "two", "leaves out"),
        ("  # exit code 1", "", "ended with 1, not 0"),
        ("<!-- not run -->\n", "", "ended with 1, not 0"),
        ("$ false  #", "false  #", "commands only"),
    ],
)
def test_what_a_tutorial_gets_wrong_is_found(tmp_path: Path, right: str, wrong: str, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        Reader(tmp_path, "").follow(DOCUMENT.replace(right, wrong))


def test_a_question_is_answered_with_yes_and_the_alias_is_typed(tmp_path: Path) -> None:
    ask = "import sys\nfrom migrator.console.prompts import TerminalPrompter\np = TerminalPrompter()\n"
    (tmp_path / "ask.py").write_text(
        f"{ask}sys.exit(not (p.proceed('Go on?') and p.type_to_destroy('All goes.', 'new')))"
    )
    Reader(tmp_path, "").follow("```console\n$ python ask.py\n```\n```text\nGo on? [y/N] y\nAll goes.\n…: new\n```\n")


@pytest.mark.postgresql
def test_settings_get_the_test_servers_and_output_the_names_of_the_tutorial(tmp_path: Path) -> None:
    reader = Reader(tmp_path, "its_database")
    text = reader._adapted(
        'DATABASES["new"] = {\n    "ENGINE": "django.db.backends.postgresql",\n    "NAME": "shop",\n'
        '    "PASSWORD": os.environ["P"],\n    "HOST": "127.0.0.1",\n    "PORT": "5432",\n    "CONN_MAX_AGE": 5,\n}\n'
    )
    entry: dict[str, dict[str, object]] = {}
    exec(text, {"DATABASES": entry})  # noqa: S102
    found = entry["new"]
    ours = connections["postgresql_a"].settings_dict
    assert (found["NAME"], found["CONN_MAX_AGE"]) == ("its_database", 5)
    assert [found[key] for key in ("USER", "PASSWORD", "HOST", "PORT")] == [
        ours[key] for key in ("USER", "PASSWORD", "HOST", "PORT")
    ]
    assert reader.as_shown(f"{found['HOST']}:{found['PORT']}/its_database in {tmp_path}/x") == (
        "127.0.0.1:5432/shop in /home/you/x"
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("PostgreSQL 15.18, 0.3 s", "PostgreSQL 16.1,  12 s"),
        ("last 2026-11-20 17:42:52 UTC", "last 2027-01-01 00:00:00 UTC"),
        ("445f67b48d3b2ced  it holds int", "0123456789abcdef it holds int"),
        ("1.2 MiB  190,729 rows/s\n", "3 MiB  7 rows/s\n---------"[:-9]),
        ("-----  ---", "---  -------"),
    ],
)
def test_what_differs_from_run_to_run_is_masked(one: str, other: str) -> None:
    assert masked(one) == masked(other)


@pytest.mark.parametrize(("shown", "said"), [("3 rows", "4 rows"), ("equal", "not equal"), ("a … c", "a b d")])
def test_what_a_reader_would_notice_is_not_masked(shown: str, said: str) -> None:
    with pytest.raises(AssertionError):
        assert_shown(shown, said, 1)


def test_a_block_in_a_list_is_read_without_its_indent() -> None:
    assert list(blocks("1. Do:\n\n   ```console\n   $ true\n   ```\n")) == [Block(3, "console", "$ true\n", True)]
