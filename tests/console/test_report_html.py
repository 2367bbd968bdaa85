"""The page that managers read: its parts, its figures, and that nothing in it acts or is loaded."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.test import override_settings

import migrator
from migrator import __version__
from migrator.console.provenance import Provenance, provenance
from migrator.console.report_html import to_html
from migrator.console.reports import (
    Assessment,
    Check,
    Fact,
    Figure,
    Grid,
    Mood,
    Point,
    Report,
    Verdict,
)
from migrator.console.time_chart import OTHER

STARTED = dt.datetime(2026, 11, 30, 12, 0, 0, tzinfo=dt.UTC)
RUN = Provenance(
    "manage.py batch_migrate --source default --dest new",
    STARTED,
    STARTED + dt.timedelta(seconds=10),
    "ada",
    "db1",
    {"migrator": "1.2", "Django": "5.2"},
)
COPIED = Grid("Copied", ("model", "rows", "size"), (("shop.Order", 1234, "1 KiB"), ("shop.Item", None, "2 B")),
              ("total", 1234, ""))  # fmt: skip
DIFFERING = Grid("Rows that differ", ("model", "key", "kind", "fields"), (("shop.Order", "7", "changed", "note"),))
CHECKS = Grid("Checks in text", ("result",), (("passed",), ("failed",)))
PLAN = Report(
    title="Plan: 'default' to 'new'",
    verdict=Verdict(Mood.NEUTRAL, "PLAN", "Copy 1,234 rows."),
    facts=(Fact("from", "'default'"), Fact("to", "'new'"), Fact("largest", "shop.Order 1,234")),
    points=(Point(Mood.NOTE, "Writers are blocked."),),
    details=(Grid("Tables", ("#", "model"), ((1, "shop.Order"),)), CHECKS),
    assessment=Assessment(
        "Assessment: 'default' to 'new'",
        Verdict(Mood.GOOD, "READY", "No check stops this run."),
        (
            Check(Mood.GOOD, "passed", "Every value fits"),
            Check(Mood.BAD, "failed", "No orphans", ("shop.Item: 3 rows. Delete them.",)),
        ),
        CHECKS,
        Grid("Tables that need most attention", ("model", "rows"), (("shop.Order", 1234),)),
        ("Revert the settings.",),
    ),
)
REPORT = Report(
    title="Move from 'default' to 'new'",
    verdict=Verdict(Mood.GOOD, "DONE", "1,234 rows copied."),
    facts=(Fact("from", "", "'default'"), Fact("to", "", "'new'"), Fact("values", "equal", mood=Mood.GOOD)),
    points=(Point(Mood.NOTE, "A note."), Point(Mood.BAD, "A problem.", statements=("CREATE INDEX a;", "ANALYZE;")),
            Point(Mood.BAD, "shop.Order 7: changed: note", is_row=True)),
    details=(COPIED,),
    figures=(Figure("rows copied", "1,234"), Figure("rows differing", "1", "all values compared", Mood.BAD)),
    row_grids=(DIFFERING,),
    timings={"checks": 1.0, "copying": 6.0, "sequences": 0.01},
    slowest={"shop.Order": 4.0, "shop.Item": 0.5, "shop.Tag": 0.001},
    next=("manage.py verify_counts --source default --dest new", "Ask the owner."),
    preface=PLAN,
)  # fmt: skip
DRY_RUN = Report("Move", Verdict(Mood.NEUTRAL, "DRY RUN", "Nothing was written."), preface=PLAN, is_dry_run=True)
VOID = {"meta", "rect"}


class Page(HTMLParser):
    """Every element with its attributes and the text directly in it, in order; checks that every element ends."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.source = page
        self.elements: list[tuple[str, dict[str, str | None], list[str], tuple[str, ...]]] = []
        self._open: list[int] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        parents = tuple(self.elements[number][0] for number in self._open)
        self.elements.append((tag, dict(attrs), [], parents))
        if tag not in VOID:
            self._open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), [], ()))

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self._open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.elements[self._open[-1]][2].append(data.strip())

    def texts(self, tag: str) -> list[str]:
        return [" ".join(texts) for name, _, texts, _ in self.elements if name == tag]

    def found(self, *tags: str) -> Iterator[tuple[dict[str, str | None], str, tuple[str, ...]]]:
        for name, attributes, texts, parents in self.elements:
            if name in tags:
                yield attributes, " ".join(texts), parents


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(to_html(REPORT, RUN))


def test_the_verdict_comes_first_then_both_ends_and_the_figures(page: Page) -> None:
    assert page.texts("title")[:1] == ["DONE: Move from 'default' to 'new'"]
    assert page.texts("h1") == ["Move from 'default' to 'new'"]
    order = ["Move from 'default' to 'new'</h1>", "DONE</strong>", "1,234 rows copied.</span>",
             "'default'</dd>", "'new'</dd>", "</b> rows copied", "Open points", "What to do next",
             "This run", "Details"]  # fmt: skip
    body = page.source[page.source.index("<body>") :].replace("&#x27;", "'")
    places = [body.index(text) for text in order]
    assert places == sorted(places)
    assert {"1,234", "1"} <= set(page.texts("b"))


@pytest.mark.parametrize("mood", list(Mood))
def test_the_verdict_has_the_colour_of_its_mood(mood: Mood) -> None:
    page = Page(to_html(Report("Move", Verdict(mood, "WORD", "Sentence."))))
    assert [attributes["class"] for attributes, _, _ in page.found("p") if attributes][:1] == [f"verdict {mood.value}"]
    assert f".{mood.value}" in page.texts("style")[0]


def test_it_says_who_ran_what_when_where_and_with_which_versions(page: Page) -> None:
    times = [attributes["datetime"] for attributes, _, _ in page.found("time")]
    assert [dt.datetime.fromisoformat(time or "") for time in times] == [RUN.started, RUN.ended]
    values = dict(zip(page.texts("dt"), page.texts("dd"), strict=True))
    assert values["By"] == "ada on db1"
    assert values["Duration"] == "10.0 s"
    assert values["Versions"] == "migrator 1.2, Django 5.2"
    assert RUN.command in page.texts("code")


def test_provenance_is_of_this_process_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER"):
        monkeypatch.setenv(name, "somebody")
    found = provenance("batch_migrate", STARTED, {"psycopg": "3.2.1"})
    assert found.user != "somebody"
    assert list(found.versions) == ["migrator", "Django", "Python", "psycopg"]
    assert found.versions["migrator"] == __version__
    assert found.seconds == (found.ended - STARTED).total_seconds()


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 4_000_000_000)
    assert provenance("x", STARTED, {}).user == "user 4000000000"


def test_headings_leave_no_level_out(page: Page) -> None:
    levels = [int(name[1]) for name, *_ in page.elements if re.fullmatch(r"h\d", name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert [name for name, *_ in page.elements].count("main") == 1


def test_every_table_has_a_caption_heads_with_scope_and_room_to_scroll(page: Page) -> None:
    tables = list(page.found("table"))
    assert len(tables) == 4
    assert page.texts("caption") == ["Rows that differ", "Copied", "Tables", "Checks in text"]
    assert all(parents[-1] == "div" for _, _, parents in tables)
    assert page.source.count('<div class="scroll" role="region"') == 4
    assert all(attributes.get("scope") in ("col", "row") for attributes, _, _ in page.found("th"))


def test_heads_of_numbers_are_aligned_as_their_numbers(page: Page) -> None:
    cells = [(text, attributes) for attributes, text, parents in page.found("th", "td") if parents[-1] == "tr"]
    copied = cells[[text for text, _ in cells].index("size") - 2 :][:12]
    assert [(text, "class" in attributes) for text, attributes in copied] == [
        *[("model", False), ("rows", True), ("size", False)],
        *[("shop.Order", False), ("1,234", True), ("1 KiB", False)],
        *[("shop.Item", False), ("-", True), ("2 B", False)],
        *[("total", False), ("1,234", True), ("", False)],
    ]
    rows = [text for attributes, text, _ in page.found("th") if attributes.get("scope") == "row"]
    assert {"shop.Order", "shop.Item", "total"} <= set(rows)


def test_a_head_without_text_is_a_plain_cell_and_a_table_without_a_title_has_the_reports() -> None:
    grid = Grid("", ("", "sessions"), (("from", 3),))
    page = Page(to_html(Report("Copy of sessions", Verdict(Mood.GOOD, "DONE", ""), details=(grid,))))
    assert page.texts("caption") == ["Copy of sessions"]
    assert page.texts("td") == ["", "3"]


def test_it_loads_nothing_and_runs_nothing(page: Page) -> None:
    tags = {name for name, *_ in page.elements}
    assert not {"script", "link", "img", "iframe", "object", "embed", "form", "a", "base"} & tags
    names = {name for _, attributes, *_ in page.elements for name in attributes}
    assert not {name for name in names if name in ("src", "href", "style", "srcset") or name.startswith("on")}
    assert not re.search(r"https?:|url\(|@import|//", page.source)
    policy = [attributes["content"] for attributes, *_ in page.found("meta") if "http-equiv" in attributes]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_it_fits_small_screens_dark_rooms_and_paper(page: Page) -> None:
    viewport = [attributes for attributes, *_ in page.found("meta") if attributes.get("name") == "viewport"]
    assert viewport[0]["content"] == "width=device-width, initial-scale=1"
    style = page.texts("style")[0]
    assert "color-scheme: light dark" in style
    assert "@media (prefers-color-scheme: dark)" in style
    assert "overflow-x: auto" in style
    printed = style[style.index("@media print") :]
    assert "details::details-content" in printed


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("number", [0, 1], ids=["light", "dark"])
def test_text_has_enough_contrast(page: Page, number: int) -> None:
    colours = dict(re.findall(r"--([\w-]+): (#\w+);", page.texts("style")[0].split(":root")[number + 1]))
    pairs = [("text", "page"), ("quiet", "page"), ("quiet", "card"), ("text", "card")]
    pairs += [(mood, f"{mood}-page") for mood in ("good", "warning", "bad", "neutral")]
    pairs += [(mood, "page") for mood in ("good", "warning", "bad", "neutral")]
    assert {pair: contrast(*(colours[name] for name in pair)) for pair in pairs if
            contrast(*(colours[name] for name in pair)) < 4.5} == {}  # fmt: skip


def bars(page: Page) -> dict[str, tuple[float, float]]:
    """Return the seconds that are written at each bar, and its width in percent, by label."""
    drawn = [(attributes, text) for attributes, text, _ in page.found("text") if attributes["y"]]
    widths = [float((attributes["width"] or "").rstrip("%")) for attributes, *_ in page.found("rect")]
    texts = [text for attributes, text in drawn if attributes.get("class") != "head"]
    assert widths[::2] == [100.0] * (len(widths) // 2)
    seconds = [float(text.removesuffix(" s")) for text in texts[1::2]]
    return dict(zip(texts[::2], zip(seconds, widths[1::2], strict=True), strict=True))


def test_the_phases_add_up_to_the_duration_and_bars_are_as_long_as_their_seconds(page: Page) -> None:
    found = bars(page)
    assert list(found) == ["checks", "copying", OTHER, "shop.Order", "shop.Item"]
    assert sum(found[label][0] for label in ("checks", "copying", OTHER)) == RUN.seconds
    longest = max(seconds for seconds, _ in found.values())
    for seconds, width in found.values():
        assert width == pytest.approx(100 * seconds / longest, abs=0.01)
    assert "10.0 s in all" in page.texts("text")


def test_the_chart_can_be_read_aloud(page: Page) -> None:
    svg = next(page.found("svg"))[0]
    assert svg["role"] == "img"
    ids = {attributes.get("id"): text for attributes, text, _ in page.found("title", "desc")}
    assert {*(svg["aria-labelledby"] or "").split()} <= set(ids)
    assert ids["chart-text"] == (
        f"Phases: checks 1.0 s, copying 6.0 s, {OTHER} 3.0 s. Slowest tables: shop.Order 4.0 s, shop.Item 0.5 s."
    )


def test_a_single_bar_is_no_chart() -> None:
    report = Report("Move", Verdict(Mood.GOOD, "DONE", ""), timings={"checks": 10.0})
    assert not list(Page(to_html(report, RUN)).found("svg"))


@override_settings(LANGUAGE_CODE="de", USE_THOUSAND_SEPARATOR=True, TEMPLATES=[])
def test_neither_the_language_nor_the_templates_of_a_project_change_it(page: Page) -> None:
    assert to_html(REPORT, RUN) == page.source


def test_open_points_are_the_worst_first_and_rows_of_a_table_are_none_of_them(page: Page) -> None:
    body = page.source[page.source.index("Open points") : page.source.index("What to do next")]
    assert re.findall(r"<b>(\w+):</b> ([\w .]+)", body) == [("Problem", "A problem."), ("Note", "A note.")]
    assert "CREATE INDEX a;\nANALYZE;\n" in page.source
    assert "shop.Order 7: changed" not in page.source


def test_a_point_has_its_word_once_and_versions_are_not_repeated() -> None:
    point = Point(Mood.WARNING, "Warning (snapshot): writers are blocked.")
    facts = (Fact("versions", "Python 3.11"), Fact("values", "equal"))
    report = Report("Checkup", Verdict(Mood.WARNING, "READY", ""), facts, points=(point,))
    page = Page(to_html(report, RUN))
    assert page.source.count("Warning") == 1
    assert "Python 3.11" not in page.source
    assert "Python 3.11" in to_html(report)


def test_a_bad_verdict_is_never_without_an_open_point() -> None:
    bad = Report("Copy", Verdict(Mood.BAD, "INCOMPLETE", "10 sessions could not be copied."))
    assert Page(to_html(bad)).texts("li") == ["10 sessions could not be copied."]
    explained = Report("Copy", bad.verdict, facts=(Fact("left out", "10 sessions", "10 sessions: 1, 2", Mood.WARNING),))
    assert Page(to_html(explained)).texts("li") == ["Left out: 10 sessions"]
    assert "None." in Page(to_html(Report("Copy", Verdict(Mood.GOOD, "DONE", "")))).texts("p")


def test_commands_to_call_next_are_told_from_sentences(page: Page) -> None:
    assert "manage.py verify_counts --source default --dest new" in page.texts("code")
    assert "Ask the owner." in page.texts("p")


def test_the_plan_is_there_but_folded(page: Page) -> None:
    assert ("Plan: 'default' to 'new'", ()) not in page.elements
    summaries = {text: parents for _, text, parents in page.found("summary")}
    assert "details" in summaries["Plan: 'default' to 'new'"]
    assert "Writers are blocked." in page.texts("li")
    assert "Approval" not in page.texts("h2")


def test_a_dry_run_is_an_assessment_with_checks_the_way_back_and_a_line_to_sign() -> None:
    page = Page(to_html(DRY_RUN, RUN))
    assert page.texts("h1") == ["Assessment: 'default' to 'new'"]
    assert page.texts("strong") == ["READY"]
    assert "Checks in text" not in page.source
    heads = page.texts("h2")
    assert [heads.index(name) for name in ("Checks", "Tables that need most attention", "The way back", "Approval")]
    assert "2 checks: 1 failed, 1 passed." in page.texts("p")
    tags = [(attributes["class"], text) for attributes, text, _ in page.found("span") if "class" in attributes]
    assert tags == [("tag bad", "failed"), ("tag good", "passed")]
    assert {"shop.Item: 3 rows. Delete them."} <= set(page.texts("p"))
    assert {"Name", "Date", "Signature"} <= set(page.texts("dt"))
    assert "Revert the settings." in page.texts("li")
    assert "shop.Order 1,234" in page.texts("dd")


EVIL = '<script>alert(1)</script>\x1b[2J\u202e"\'&{{ 7|add:7 }}{% include "page.html" %}'


def hostile() -> Report:
    point = Point(Mood.BAD, EVIL, statements=(EVIL,))
    grid = Grid(EVIL, (EVIL,), ((EVIL,),), (EVIL,))
    inner = Report(EVIL, Verdict(Mood.BAD, EVIL, EVIL), (Fact(EVIL, EVIL),), points=(point,), details=(grid,),
                   assessment=Assessment(EVIL, Verdict(Mood.BAD, EVIL, EVIL), (Check(Mood.BAD, EVIL, EVIL, (EVIL,)),),
                                         grid, grid, (EVIL,)))  # fmt: skip
    return Report(
        title=EVIL,
        verdict=Verdict(Mood.BAD, EVIL, EVIL),
        facts=(Fact("from", EVIL), Fact("to", EVIL), Fact(EVIL, EVIL, EVIL)),
        points=(point,),
        details=(grid,),
        figures=(Figure(EVIL, EVIL, EVIL),),
        row_grids=(grid,),
        timings={EVIL: 1.0, "other": 2.0},
        slowest={EVIL: 1.0},
        next=(EVIL, f"manage.py {EVIL}"),
        preface=inner,
        is_dry_run=False,
    )


@pytest.mark.parametrize("is_dry_run", [False, True])
def test_no_text_becomes_markup_or_acts(is_dry_run: bool) -> None:
    run = Provenance(EVIL, STARTED, STARTED, EVIL, EVIL, {EVIL: EVIL})
    source = to_html(replace(hostile(), is_dry_run=is_dry_run), run)
    page = Page(source)
    assert "script" not in {name for name, *_ in page.elements}
    assert not {letter for letter in source if not letter.isprintable()} - {"\n"}
    assert "{{ 7|add:7 }}" in page.texts("h1")[0]
    assert r"\x1b[2J\u202e" in page.texts("h1")[0]
    assert source.count("&lt;script&gt;") > 30


def test_the_templates_are_in_the_package() -> None:
    folder = Path(migrator.__file__).parent / "console" / "report_page"
    names = {path.name for path in folder.iterdir()}
    used = {name for path in folder.iterdir() for name in re.findall(r'include "([\w.]+)"', path.read_text("utf-8"))}
    assert names == {*used, "page.html"}
