"""Fill a new site by django CMS's own means: its API for pages and plugins, its versions, and its admin."""

import json
from typing import Any

from cms.api import add_plugin, assign_user_to_page, create_page, create_page_content, create_page_user
from cms.models import GlobalPagePermission, Page, PageContent, PageUserGroup, UserSettings
from django.conf import settings
from django.contrib.auth.models import Group, Permission, User
from django.contrib.redirects.models import Redirect
from django.contrib.sites.models import Site
from django.db import transaction
from django.test import Client
from djangocms_alias.models import Alias, AliasContent, Category
from djangocms_versioning.models import Version

from tests.scenarios.realapps.phrases import phrase, title_of

PASSWORD = "correct horse"
PAGES = 30
# By the name of who is logged in, the session's key in a browser.
BROWSERS = settings.RUN_DIRECTORY / "cms-browsers.json"


def fill() -> dict[str, int]:
    """Make all of it, and count the pages."""
    with transaction.atomic():
        staff = make_staff()
        aliases = make_aliases(staff)
        pages = make_pages(staff, aliases)
        translate(pages, staff)
        work_on_versions(pages, staff)
        restrict(pages, staff)
    edit_in_admin(pages)
    return {"pages": Page.objects.count()}


def body_of(number: int) -> dict[str, Any]:
    """Return a text in both of the forms in which it is stored."""
    lines = [phrase(number + n) for n in range(1 + number % 4)]
    nodes = [{"type": "paragraph", "attrs": {"n": n / 8, "last": None}, "text": line} for n, line in enumerate(lines)]
    return {"body": "".join(f"<p>{line}</p>" for line in lines), "json": {"type": "doc", "content": nodes}}


def make_staff() -> list[User]:
    chief = User.objects.create_superuser("chief", "chief@example.com", PASSWORD, last_name="Ø'Neill")
    staff = [chief]
    for number in range(4):
        user = User.objects.create_user(f"editor{number}", f"e{number}@example.com", PASSWORD, is_staff=True)
        user.user_permissions.set(Permission.objects.filter(content_type__app_label__in=["cms", "djangocms_text"]))
        UserSettings.objects.create(user=user, language="pt")
        create_page_user(chief, user, grant_all=True)
        staff.append(user)
    for name in ("Translators ⛵", "Readers"):
        group = PageUserGroup.objects.create(name=name, created_by=chief)
        group.permissions.set(Permission.objects.filter(content_type__app_label="djangocms_alias"))
        group.user_set.set(staff[2:])
    return staff


def make_aliases(staff: list[User]) -> list[Alias]:
    aliases = []
    for number in range(4):
        category = Category.objects.create(name=title_of(number))
        category.set_current_language("pt")
        category.name = f"pt {title_of(number)}"
        category.save()
        alias = Alias.objects.create(
            category=category, position=number, static_code=f"footer{number}" if number else None
        )
        content = AliasContent.objects.with_user(staff[0]).create(alias=alias, name=title_of(number), language="en")
        add_plugin(content.placeholder, "TextPlugin", "en", **body_of(number))
        version_of(content).publish(staff[0])
        aliases.append(alias)
    return aliases


def make_pages(staff: list[User], aliases: list[Alias]) -> list[Page]:
    """Grow a tree of pages with texts and aliases in them, and move and copy some."""
    pages: list[Page] = []
    for number in range(PAGES):
        parent = pages[number // 4] if number > 3 else None
        page = create_page(
            title_of(number), "page.html", "en", created_by=staff[number % len(staff)], parent=parent,
            slug=f"page-{number}", in_navigation=bool(number % 5),
            reverse_id=f"rev {number} ü" if number % 7 == 1 else None,
            meta_description=phrase(number), limit_visibility_in_menu=number % 3 or None,
        )  # fmt: skip
        write(page.get_admin_content("en"), number, aliases)
        version_of(page.get_admin_content("en")).publish(staff[0])
        pages.append(page)
    pages[0].set_as_homepage()
    pages[-1].refresh_from_db()
    pages[-1].move_page(Page.objects.get(pk=pages[1].pk), position="first-child")
    Page.objects.get(pk=pages[-2].pk).copy(
        site=Site.objects.get(), parent_page=Page.objects.get(pk=pages[2].pk), user=staff[0]
    )
    return [Page.objects.get(pk=page.pk) for page in pages]


def write(content: PageContent, number: int, aliases: list[Alias]) -> None:
    places = content.rescan_placeholders()
    for n in range(1 + number % 3):
        add_plugin(places["content"], "TextPlugin", content.language, **body_of(number + n))
    if aliases and number % 2:
        add_plugin(places["aside"], "Alias", content.language, alias=aliases[number % len(aliases)], template="default")


def translate(pages: list[Page], staff: list[User]) -> None:
    for number, page in enumerate(pages[:12]):
        for language in ("pt", "ja"):
            content = create_page_content(
                language, f"{language} {title_of(number)}", page, slug=f"{language}-{number}", created_by=staff[1]
            )
            write(content, number, [])
            if number % 4 != 3:
                version_of(content).publish(staff[1])


def work_on_versions(pages: list[Page], staff: list[User]) -> None:
    """Draft, publish, unpublish, archive, revert: several versions of a page, each with its own texts."""
    for number, page in enumerate(pages[4:20]):
        published = version_of(PageContent.admin_manager.filter(page=page, language="en").latest_content().get())
        draft = published.copy(staff[2])
        draft.content.title += " *"
        draft.content.save()
        add_plugin(draft.content.get_placeholders()[0], "TextPlugin", "en", **body_of(number + 40))
        if number % 4 == 0:
            draft.publish(staff[3])
        if number % 4 == 1:
            draft.archive(staff[3])
        if number % 4 == 2:
            published.unpublish(staff[3])


def version_of(content: Any) -> Version:
    return Version.objects.get_for_content(content)


def restrict(pages: list[Page], staff: list[User]) -> None:
    for number, user in enumerate(staff[1:]):
        assign_user_to_page(pages[number], user, can_add=True, can_change=True, can_publish=bool(number % 2))
    everywhere = GlobalPagePermission.objects.create(user=staff[1], can_recover_page=True)
    everywhere.sites.add(Site.objects.get())
    closed = Page.objects.get(pk=pages[3].pk)
    closed.login_required = True
    closed.save()
    GlobalPagePermission.objects.create(group=Group.objects.get(name="Readers"), can_change=False)
    for number in range(6):
        Redirect.objects.create(site_id=1, old_path=f"/old/{number}/", new_path=f"/en/page-{number}/" if number else "")


def edit_in_admin(pages: list[Page]) -> None:
    """Log in with several browsers, and edit pages and publish versions in the admin."""
    browsers = {}
    for name in ("chief", "editor0", "editor1"):
        browser = browsers[name] = Client()
        login = browser.post("/en/admin/login/?next=/en/admin/", {"username": name, "password": PASSWORD})
        assert login.status_code == 302, login
    for number in (20, 21, 22):
        change_page(browsers["chief"], pages[number], f"Edited {title_of(number)}")
    BROWSERS.write_text(json.dumps({who: one.cookies["sessionid"].value for who, one in browsers.items()}))


def change_page(browser: Client, page: Page, title: str) -> Version:
    """Make a new draft of a published page, change its title, and publish it, all by pages of the admin."""
    published = version_of(PageContent.objects.get(page=page, language="en"))
    versions = "/en/admin/djangocms_versioning/pagecontentversion"
    assert browser.post(f"{versions}/{published.pk}/edit-redirect/").status_code == 302
    draft = Version.objects.get(source=published, state="draft")
    words = {"title": title, "slug": f"edited-{draft.pk}", "language": "en", "template": "page.html"}
    answer = browser.post(f"/en/admin/cms/pagecontent/{draft.object_id}/change/", words)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    assert browser.post(f"{versions}/{draft.pk}/publish/").status_code == 302
    return Version.objects.get(pk=draft.pk)
