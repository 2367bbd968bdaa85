"""Look at the site after a move, and go on working with it: its pages, its versions, its tree, its admin."""

import html
import json
from typing import Any

from cms.api import create_page
from cms.models import CMSPlugin, Page, PageContent, PageUrl
from django.conf import settings
from django.contrib.auth.models import User
from django.db import models
from django.test import Client
from djangocms_text.models import Text
from djangocms_versioning.models import StateTracking, Version

from tests.scenarios.realapps import comparison
from tests.scenarios.realapps.cms_project.content import BROWSERS, body_of, change_page, version_of, write


def compare() -> dict[str, Any]:
    return comparison.compare()


def verify() -> list[str]:
    return comparison.verify()


def tree() -> dict[str, Any]:
    """Let treebeard look for problems of the tree of pages."""
    return {
        "problems": [list(ids) for ids in Page.find_problems()],
        "depth": max(Page.objects.values_list("depth", flat=True)),
    }


def look() -> dict[str, Any]:
    """Open every published page in its languages as a visitor, and read its title and its texts."""
    visitor = Client()
    wrong, shown = [], 0
    for content in PageContent.objects.filter(page__login_required=False).select_related("page"):
        address = content.page.get_absolute_url(content.language)
        if address is None:  # below a page that is not published
            continue
        answer = visitor.get(address)
        texts = Text.objects.filter(placeholder__in=content.get_placeholders(), language=content.language)
        expected = [content.title, *(text.body for text in texts)]
        if answer.status_code != 200 or not all(_words(one) in _words(answer.content.decode()) for one in expected):
            wrong.append(f"{address}: {answer.status_code}")
        shown += 1
    closed = Page.objects.filter(login_required=True)[0].get_absolute_url("en")
    member = _browsers()["editor1"]
    return {
        "pages": shown,
        "wrong": wrong,
        "closed page": [browser.get(closed).status_code for browser in (visitor, member)],
        "redirects": [visitor.get(address).status_code for address in ("/old/0/", "/old/1/")],
    }


def _words(text: str) -> str:
    return " ".join(html.unescape(text).split())


def _browsers() -> dict[str, Client]:
    """Return browsers with the sessions from before the first move, by who is logged in."""
    found = {}
    for who, key in json.loads(BROWSERS.read_text()).items():
        found[who] = Client()
        found[who].cookies[settings.SESSION_COOKIE_NAME] = key
    return found


def stay() -> dict[str, Any]:
    """Open the admin with these browsers, without logging in."""
    answers = {who: browser.get("/en/admin/") for who, browser in _browsers().items()}
    return {who: [answer.status_code, answer.wsgi_request.user.username] for who, answer in answers.items()}


def go_on() -> dict[str, Any]:
    """Create a page, edit and publish another in the admin; return which new keys are not the next ones."""
    kinds: list[type[models.Model]] = [Page, PageContent, PageUrl, CMSPlugin, Version, StateTracking]
    last = {kind: _last(kind) for kind in kinds}
    chief = User.objects.get(username="chief")
    page = create_page(
        "After the move ⛵",
        "page.html",
        "en",
        created_by=chief,
        slug=f"after-{last[Page]}",
        parent=Page.objects.get(is_home=True),
    )
    content = page.get_admin_content("en")
    write(content, 0, [])
    version_of(content).publish(chief)
    made = [
        page,
        content,
        page.get_url("en"),
        CMSPlugin.objects.latest("pk"),
        version_of(content),
        StateTracking.objects.latest("pk"),
    ]
    wrong = [
        f"{kind.__name__}: {new.pk} after {last[kind]}" for kind, new in zip(kinds, made, strict=True)
        if new.pk != last[kind] + 1
    ]  # fmt: skip
    edited = change_page(_browsers()["chief"], Page.objects.get(pk=page.pk), "Edited after the move")
    answer = Client().get(Page.objects.get(pk=page.pk).get_absolute_url("en"))
    return {
        "page": answer.status_code,
        "text": _words(body_of(0)["body"]) in _words(answer.content.decode()),
        "title": "Edited after the move" in answer.content.decode(),
        "versions": sorted(Version.objects.filter_by_grouper(page).values_list("number", "state")),
        "edited": edited.state,
        "not the next key": wrong,
    }


def _last(kind: type[models.Model]) -> int:
    last: int = kind._base_manager.aggregate(last=models.Max("pk"))["last"]
    return last
