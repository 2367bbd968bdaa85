"""Look at a Wagtail site after a move, and go on working with it: its pages, its admin, its trees, its search."""

import io
from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.db import connection, models
from django.test import Client
from django.utils.html import escape
from wagtail.documents.models import Document
from wagtail.images.models import Image
from wagtail.models import Page, PageViewRestriction, Revision, Site, TaskState
from wagtail.search.models import IndexEntry
from wagtail.test.demosite.models import BlogEntryPage, BlogIndexPage, FormPage
from wagtail.test.snippets.models import StandardSnippet

from tests.scenarios.realapps import comparison
from tests.scenarios.realapps.wagtail_project.content import PASSWORD, picture

PAGES_OF_A_TYPE = 4


def compare() -> dict[str, Any]:
    # Its columns differ from engine to engine, and Wagtail builds it anew from the pages.
    return comparison.compare(rebuilt=["wagtailsearch"])


def trees() -> dict[str, Any]:
    """Let Wagtail look for problems of its trees."""
    said = io.StringIO()
    call_command("fixtree", interactive=False, stdout=said)
    return {"said": [line for line in said.getvalue().splitlines() if line]}


def read() -> dict[str, Any]:
    """Open pages of every type as a visitor does, and what is behind some of them."""
    visitor = Client()
    public = _some_of_each_type(Page.objects.live().public().in_site(Site.objects.get(is_default_site=True)).specific())
    answers = {page.get_url(): (visitor.get(page.get_url()), page.title) for page in public}
    entry = BlogEntryPage.objects.live().public()[0]
    closed = PageViewRestriction.objects.filter(restriction_type=PageViewRestriction.LOGIN)[0].page
    document = Document.objects.exclude(file_hash="").order_by("pk")[0]
    member = Client()
    member.force_login(User.objects.get(username="chief"))
    return {
        "pages": len(answers),
        "wrong": [
            f"{url}: {answer.status_code}"
            for url, (answer, title) in answers.items()
            if answer.status_code != 200 or f"<title>{escape(title)}</title>" not in answer.content.decode()
        ],
        "redirect": visitor.get("/old/ä1/?x=1").status_code,
        "closed page": [client.get(closed.get_url()).status_code for client in (visitor, member)],
        "by the API": visitor.get(f"/api/pages/{entry.pk}/").json()["title"] == entry.title,
        "document": member.get(document.url).getvalue() == document.file.read(),
    }


def _some_of_each_type(pages: Iterable[Page]) -> list[Page]:
    by_type: dict[type[Page], list[Page]] = {}
    for page in pages:
        by_type.setdefault(type(page), []).append(page)
    return [page for pages in by_type.values() for page in pages[:PAGES_OF_A_TYPE]]


def administer() -> dict[str, Any]:
    """Log in by the form, list pages, open an entry with its history, and approve one that waits."""
    admin = Client()
    login = admin.post("/admin/login/", {"username": "chief", "password": PASSWORD, "next": "/admin/"})
    blog = BlogIndexPage.objects.order_by("pk")[0]
    entry = blog.get_children().order_by("path")[7]
    waiting = TaskState.objects.filter(status=TaskState.STATUS_IN_PROGRESS).order_by("pk")[0]
    chief = User.objects.get(username="chief")
    waiting.approve(user=chief)
    addresses = (
        "/admin/",
        f"/admin/pages/{blog.pk}/",
        f"/admin/pages/{entry.pk}/edit/",
        f"/admin/pages/{entry.pk}/history/",
        "/admin/images/",
        "/admin/reports/workflow/",
        "/admin/reports/site-history/",
        "/admin/snippets/snippetstests/translatablesnippet/",
        "/admin/users/",
    )
    answers = {address: admin.get(address) for address in addresses}
    return {
        "login": login.status_code,
        "wrong": [f"{address}: {page.status_code}" for address, page in answers.items() if page.status_code != 200],
        "lists its entry": entry.title in answers[f"/admin/pages/{blog.pk}/"].content.decode(),
        "approved": waiting.status,
    }  # fmt: skip


def go_on() -> dict[str, Any]:
    """Write what a site writes every day; tell which new keys are not the next ones."""
    kinds: list[type[models.Model]] = [Page, Revision, Image, Document, StandardSnippet]
    last = {kind: kind._default_manager.aggregate(last=models.Max("pk"))["last"] for kind in kinds}
    chief = User.objects.get(username="chief")
    blog = BlogIndexPage.objects.order_by("pk")[0]
    image = Image.objects.create(title="New", file=picture(99))
    page = BlogEntryPage(
        title="Written after the move", slug=f"after-{last[Page]}", date="2025-01-01", body="<p>zugzwang</p>",
        feed_image=image,
    )  # fmt: skip
    blog.add_child(instance=page)
    page.tags.add("moved")
    revision = page.save_revision(user=chief)
    revision.publish(user=chief)
    made = [Page.objects.get(pk=page.pk), revision, image]
    made.append(Document.objects.create(title="New", file=ContentFile(b"new", name="new.txt")))
    made.append(StandardSnippet.objects.create(text="New"))
    visitor = Client()
    form = FormPage.objects.get()
    before = form.get_submission_class().objects.count()
    words = {"the_singleline": "1", "the_multiline": "1", "the_email": "a@example.com", "the_number": 1}
    visitor.post(form.url, words | {"the_date": "2025-01-01"})
    return {
        "page": visitor.get(page.get_url()).status_code,
        "submissions": form.get_submission_class().objects.count() - before,
        "not the next key": [
            f"{kind.__name__}: {new.pk} after {last[kind]}" for kind, new in zip(kinds, made, strict=True)
            if new.pk != last[kind] + 1
        ],
    }  # fmt: skip


def search() -> dict[str, Any]:
    """Build the search index, as Wagtail's manual says after such a move, and find by it.

    Empty it on both sides then, for a run refuses to empty a database in which tables that it leaves out hold rows.
    """
    call_command("update_index", verbosity=0)
    found = [page.title for page in BlogEntryPage.objects.search("zugzwang")][:1]
    by_title = BlogEntryPage.objects.search("caminho").count()
    for alias in (connection.alias, "old"):
        # Not by the model's own way, which knows the tables of one engine.
        IndexEntry.objects.using(alias)._raw_delete(alias)
    return {"found": found, "by title": by_title > 0}
