"""A whole run watched in Chromium: narrow and wide, light and dark, and with no error of the page's script.

`make test-browser` installs Chromium. MIGRATOR_TEST_PICTURES names a directory for pictures of what was seen.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.test import Client

from tests.databases.snapshots import insert_rows
from tests.management.test_migrator_status import move
from tests.servers.databases import FreshDatabases, Pair
from tests.testapp.models import Tag
from tests.watch.browser import Browser, Page, browser

ROWS = 24  # six chunks
SHARE = "Number(document.querySelector('[role=progressbar]')?.ariaValueNow ?? -1)"
KINDS = [(400, "light"), (400, "dark"), (1280, "light"), (1280, "dark")]
BACKGROUNDS = {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    """Serve the project of these tests; return its address."""
    with Server(("127.0.0.1", 0), Quiet) as server:
        server.set_app(WSGIHandler())
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[Browser]:
    program = os.environ.get("MIGRATOR_TEST_BROWSER") or shutil.which("chromium")
    assert program, "there is no Chromium: `make test-browser` installs it"
    with browser(program, tmp_path) as found:
        yield found


def pictures(pages: list[Page], name: str) -> None:
    if directory := os.environ.get("MIGRATOR_TEST_PICTURES"):
        for page in pages:
            page.save_picture(Path(directory), name)


@pytest.mark.slow
@pytest.mark.postgresql
@pytest.mark.usefixtures("few_rows_are_many")
def test_a_run_is_watched_from_its_start_to_its_end(
    databases: FreshDatabases, staff: Client, site: str, chromium: Browser
) -> None:
    pair = Pair("sqlite_a", "postgresql_b")
    databases.fresh(*pair)
    insert_rows(Tag, pair.source, [{"id": number, "name": f"tag {number}"} for number in range(1, ROWS + 1)])
    cookies = {name: morsel.value for name, morsel in staff.cookies.items()}
    address = f"{site}/migrator/status/{pair.dest}/"
    pages: list[Page] = []
    seen: list[list[int]] = []

    def look() -> None:
        """Hold the run after a chunk until every page shows more rows than before."""
        if not pages:
            pages.extend(Page(chromium, width, scheme, cookies, address) for width, scheme in KINDS)
            pages.append(Page(chromium, 400, "light", cookies, address, runs_scripts=False))
        least = max(seen[-1]) if seen else -1
        if least == 100:
            return  # what is verified afterwards
        seen.append([page.wait_for(f"{SHARE} > {least} && {SHARE}") for page in pages])
        if len(seen) == 1:
            for page in pages:
                page.value("window.first = document.querySelector('#facts dd')")
        if len(seen) == 4:
            for page in pages[:-1]:
                assert page.value("first.isConnected"), "what has not changed stays, such as what is selected there"
            pictures(pages, "working")

    move(pair, look)
    assert [set(shares) for shares in seen] == [{shares[0]} for shares in seen], "all pages show the same"
    assert len(seen) >= 5
    assert seen[-1][0] == 100
    scripted = pages[:-1]
    for page in scripted:
        assert page.value("document.getElementById('rate').hidden") is False
        assert "Rows per second, the last" in page.value("document.querySelector('figcaption').textContent")
        assert page.value("document.querySelector('polyline').getAttribute('points').split(' ').length") >= 2
        assert page.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), (
            "nothing is wider than the page"
        )
    for page, (_, scheme) in zip(scripted, KINDS, strict=True):
        assert page.value("getComputedStyle(document.documentElement).backgroundColor") == BACKGROUNDS[scheme]
    for page in pages:
        page.wait_for("document.body?.innerText.includes('ENDED')")
    pictures(pages, "ended")
    for page in pages:
        assert page.errors() == []


@pytest.mark.slow
@pytest.mark.usefixtures("counted")
def test_the_index_and_the_transitions_are_shown(
    databases: FreshDatabases, staff: Client, site: str, chromium: Browser
) -> None:
    databases.fresh("sqlite_b")
    cookies = {name: morsel.value for name, morsel in staff.cookies.items()}
    expected = {"": "NO RUN", "sessions/": "found in OLD", "caches/moving/": "fallback"}
    for path, shown in expected.items():
        pages = [Page(chromium, width, scheme, cookies, f"{site}/migrator/{path}") for width, scheme in KINDS]
        for page in pages:
            page.wait_for(f"document.body?.innerText.includes({shown!r})")
            assert page.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
            assert page.errors() == []
        pictures(pages, path.strip("/").replace("/", "-") or "index")
