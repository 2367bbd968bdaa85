"""Fill a new Wagtail site by Wagtail's own means: its demo's fixture, its models' methods, its admin, its pages."""

import io
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from urllib.parse import urlencode
from uuid import UUID

from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.files.base import ContentFile
from django.core.files.images import ImageFile
from django.core.management import call_command
from django.db import transaction
from django.test import Client
from django.utils import timezone
from PIL import Image as Picture
from wagtail.admin.models import EditingSession, FormState
from wagtail.contrib.redirects.models import Redirect
from wagtail.contrib.search_promotions.models import Query, SearchPromotion
from wagtail.documents.models import Document
from wagtail.embeds.models import Embed
from wagtail.images.models import Image
from wagtail.log_actions import log
from wagtail.models import (
    APIToken,
    Collection,
    CollectionViewRestriction,
    Comment,
    CommentReply,
    GroupApprovalTask,
    GroupCollectionPermission,
    GroupPagePermission,
    GroupSitePermission,
    Locale,
    Page,
    PageSubscription,
    PageViewRestriction,
    Site,
    UploadedFile,
    Workflow,
    WorkflowContentType,
    WorkflowPage,
    WorkflowTask,
)
from wagtail.test.demosite.models import (
    BlogEntryPage,
    BlogEntryPageCarouselItem,
    BlogEntryPageRelatedLink,
    BlogIndexPage,
    EventIndexPage,
    EventPage,
    EventPageSpeaker,
    FormField,
    FormPage,
    HomePage,
    PersonPage,
)
from wagtail.test.snippets.models import (
    FileUploadSnippet,
    MultiSectionRichTextSnippet,
    RichTextSection,
    SearchableSnippet,
    StandardSnippetWithCustomPrimaryKey,
    TranslatableSnippet,
)
from wagtail.users.models import UserProfile

from tests.scenarios.realapps.phrases import phrase, title_of

PASSWORD = "correct horse"
BLOG_ENTRIES = 40
EVENTS = 15
SUBMISSIONS = 8


def fill() -> dict[str, int]:
    """Make all of it, and count what has the same numbers every time."""
    with transaction.atomic():
        call_command("loaddata", "demosite", verbosity=0)
        staff = make_people()
        pictures, files = make_library(staff)
        make_snippets(staff, files)
        entries = make_blog(staff, pictures, files)
        make_events(staff, pictures)
        form = make_form()
        make_workflows(staff, entries)
        remark_and_restrict(staff, entries)
        make_what_lies_beside(staff, entries)
        translate(entries)
    visit_as_people(form, entries)
    return {"pages": Page.objects.count(), "images": Image.objects.count(), "users": User.objects.count()}


def paragraphs(number: int) -> str:
    """Give rich text that refers to a page, as Wagtail's editor stores it."""
    home = HomePage.objects.order_by("pk")[0]
    return "".join(
        f'<p data-block-key="{n:05x}">{phrase(number + n)} <a linktype="page" id="{home.pk}">→</a></p>'
        for n in range(1 + number % 4)
    )


def make_people() -> list[User]:
    staff = [User.objects.create_superuser("chief", "chief@example.com", PASSWORD, last_name="Ø'Neill")]
    for name in ("writers", "reviewers", "translators"):
        group = Group.objects.create(name=name)
        group.permissions.set(Permission.objects.filter(codename__in=["access_admin", "submit_translation"]))
        for codename in ("change_page", "publish_page"):
            GroupPagePermission.objects.create(
                group=group, page=Page.get_first_root_node(), permission=Permission.objects.get(codename=codename)
            )
        GroupSitePermission.objects.create(
            group=group,
            site=Site.objects.get(is_default_site=True),
            permission=Permission.objects.get(codename="change_site"),
        )
        for number in range(4):
            user = User.objects.create_user(
                f"{name}{number}", f"{name}{number}@example.com", PASSWORD, first_name=phrase(number)[:20]
            )
            user.groups.add(group)
            UserProfile.objects.create(user=user, preferred_language="pt", current_time_zone="Asia/Tokyo")
            staff.append(user)
    return staff


def picture(number: int) -> ImageFile:
    data = io.BytesIO()
    Picture.new("RGB", (60 + number, 40), (number * 9 % 256, 99, 200)).save(data, "PNG")
    return ImageFile(io.BytesIO(data.getvalue()), name=f"picture{number}.png")


def make_library(staff: list[User]) -> tuple[list[Image], list[Document]]:
    """Put pictures and documents into a tree of collections."""
    root = Collection.get_first_root_node()
    shelves = [root.add_child(name=f"Shelf {letter}") for letter in "CAB"]
    shelves += [shelf.add_child(name=phrase(number)) for number, shelf in enumerate(list(shelves))]
    group = Group.objects.get(name="writers")
    for shelf in shelves:
        for codename in ("add_image", "choose_image", "add_document"):
            GroupCollectionPermission.objects.create(
                group=group, collection=shelf, permission=Permission.objects.get(codename=codename)
            )
    restriction = CollectionViewRestriction.objects.create(
        collection=shelves[0], restriction_type=CollectionViewRestriction.GROUPS
    )
    restriction.groups.set(Group.objects.filter(name__in=["writers", "reviewers"]))
    pictures, files = [], []
    for number in range(12):
        image = Image(
            title=phrase(number),
            file=picture(number),
            collection=shelves[number % len(shelves)],
            uploaded_by_user=staff[number % len(staff)],
            focal_point_x=20,
            focal_point_y=10 + number,
            focal_point_width=9,
            focal_point_height=9,
        )
        image.save()
        image.tags.add("sea", f"tag {number % 3}", "längs")
        image.get_rendition("max-30x30")
        pictures.append(image)
        document = Document(
            title=phrase(number + 3),
            file=ContentFile(phrase(number).encode(), name=f"paper{number}.txt"),
            collection=shelves[-1 - number % len(shelves)],
            uploaded_by_user=staff[0],
        )
        document.save()
        document.get_file_hash()
        document.tags.add("paper")
        files.append(document)
    return pictures, files


def make_snippets(staff: list[User], files: list[Document]) -> None:
    for number in range(10):
        snippet = SearchableSnippet.objects.create(text=phrase(number))
        log(snippet, "wagtail.create", user=staff[number % len(staff)])
        StandardSnippetWithCustomPrimaryKey.objects.create(snippet_id=f"key/{number} ü", text=phrase(number))
        TranslatableSnippet.objects.create(
            text=phrase(number), locale=Locale.get_default(), translation_key=UUID(int=2**127 + number)
        )
        MultiSectionRichTextSnippet(
            sections=[RichTextSection(body=paragraphs(number)), RichTextSection(body=paragraphs(number + 1))]
        ).save()
    FileUploadSnippet.objects.create(file=ContentFile(b"\x00\xff", name="upload.bin"))
    UploadedFile.objects.create(
        for_content_type=ContentType.objects.get_for_model(Image),
        file=ContentFile(b"half", name="half.png"),
        uploaded_by_user=staff[1],
    )


def make_blog(staff: list[User], pictures: list[Image], files: list[Document]) -> list[BlogEntryPage]:
    """Write blog entries with children of their own and several revisions: published, draft, and scheduled."""
    blog = BlogIndexPage.objects.get()
    entries = []
    for number in range(BLOG_ENTRIES):
        entry = BlogEntryPage(
            title=title_of(number),
            slug=f"entry-{number}",
            owner=staff[number % len(staff)],
            body=paragraphs(number),
            date=date(1999, 12, 31) + timedelta(days=number * 37),
            feed_image=pictures[number % len(pictures)] if number % 3 else None,
            live=number % 5 != 4,
        )
        entry.carousel_items = [BlogEntryPageCarouselItem(image=pictures[0], caption=phrase(number), sort_order=0)]
        entry.related_links = [
            BlogEntryPageRelatedLink(link_document=files[number % len(files)], title="paper", sort_order=0),
            BlogEntryPageRelatedLink(link_page=blog, title=phrase(number), sort_order=1),
        ]
        blog.add_child(instance=entry)
        entry.tags.add("first", f"tag {number % 4}")
        entry.save_revision(user=staff[0], log_action=True)
        if number % 5 != 4:
            entry.title += " *"
            entry.save_revision(user=staff[1], log_action=True).publish(user=staff[0])
        if number % 10 == 9:
            entry.go_live_at = timezone.now() + timedelta(days=365)
            entry.save_revision(approved_go_live_at=entry.go_live_at, user=staff[0])
        entries.append(entry)
    # What treebeard does to the paths of others: moves, copies, and a hole.
    entries = [BlogEntryPage.objects.get(pk=entry.pk) for entry in entries]
    entries[0].move(entries[1], pos="right", user=staff[0])
    entries[2].copy(update_attrs={"slug": "copy", "title": "Copy"}, user=staff[0])
    entries[3].create_alias(parent=HomePage.objects.get(slug="home-page"), user=staff[0])
    entries.pop(5).delete(user=staff[0])
    return [BlogEntryPage.objects.get(pk=entry.pk) for entry in entries]


def make_events(staff: list[User], pictures: list[Image]) -> None:
    parent = EventIndexPage.objects.order_by("pk")[0]
    for number in range(EVENTS):
        event = EventPage(
            title=f"Event {title_of(number)}",
            slug=f"gathering-{number}",
            date_from=date(2024, 2, 29),
            date_to=None if number % 2 else date(2024, 12, 31),
            time_from=time(23, 59, number),
            audience="public",
            location=phrase(number),
            cost="0",
            body=paragraphs(number),
            feed_image=pictures[number % len(pictures)],
        )
        event.speakers = [EventPageSpeaker(first_name="Ana", last_name=f"Ó {n}", sort_order=n) for n in range(2)]
        parent.add_child(instance=event)
        event.save_revision(user=staff[0]).publish()
    parent.add_child(instance=PersonPage(title="Person", slug="somebody", first_name="名", last_name="前"))


def make_form() -> FormPage:
    form = FormPage(title="Ask us", slug="ask-us")
    kinds = ("singleline", "multiline", "email", "number", "date", "checkbox")
    form.form_fields = [
        FormField(label=f"The {kind}", field_type=kind, required=kind != "checkbox", sort_order=n)
        for n, kind in enumerate(kinds)
    ]
    HomePage.objects.get(slug="home-page").add_child(instance=form)
    form.save_revision().publish()
    return form


def make_workflows(staff: list[User], entries: list[BlogEntryPage]) -> None:
    """Send entries through moderation: some are through, some wait, one is sent back, one is given up."""
    workflow = Workflow.objects.create(name="Two pairs of eyes")
    for order, name in enumerate(("writers", "reviewers")):
        task = GroupApprovalTask.objects.create(name=f"Approval by {name}")
        task.groups.add(Group.objects.get(name=name))
        WorkflowTask.objects.create(workflow=workflow, task=task, sort_order=order)
    WorkflowPage.objects.create(workflow=workflow, page=BlogIndexPage.objects.get())
    WorkflowContentType.objects.create(
        workflow=workflow, content_type=ContentType.objects.get_for_model(SearchableSnippet)
    )
    for number, entry in enumerate(entries[10:22]):
        entry.body += paragraphs(number)
        entry.save_revision(user=staff[2])
        state = workflow.start(entry, staff[2])
        if number % 4:
            state.current_task_state.approve(user=staff[1], comment=phrase(number))
        if number % 4 == 2:
            state.refresh_from_db()
            state.current_task_state.approve(user=staff[5])
        if number % 4 == 3:
            state.refresh_from_db()
            state.current_task_state.reject(user=staff[5], comment="No.")
    state.cancel(user=staff[0])


def remark_and_restrict(staff: list[User], entries: list[BlogEntryPage]) -> None:
    for number, entry in enumerate(entries[:15]):
        comment = Comment.objects.create(
            page=entry,
            user=staff[number % len(staff)],
            text=phrase(number),
            contentpath="body",
            position="{}",
            revision_created=entry.latest_revision,
            resolved_at=timezone.now() if number % 2 else None,
            resolved_by=staff[0] if number % 2 else None,
        )
        comment.log_create(page_revision=entry.latest_revision, user=staff[0])
        CommentReply.objects.create(comment=comment, user=staff[0], text=phrase(number + 1))
        PageSubscription.objects.create(user=staff[number % len(staff)], page=entry, comment_notifications=True)
    for number, kind in enumerate(
        (PageViewRestriction.PASSWORD, PageViewRestriction.LOGIN, PageViewRestriction.GROUPS)
    ):
        restriction = PageViewRestriction.objects.create(
            page=entries[30 + number], restriction_type=kind, password="open" if number == 0 else ""
        )
        restriction.groups.set(Group.objects.filter(name="writers") if kind == PageViewRestriction.GROUPS else [])


def make_what_lies_beside(staff: list[User], entries: list[BlogEntryPage]) -> None:
    for number in range(20):
        Redirect.add_redirect(f"/old/ä{number}/?x={number}", entries[number] if number % 2 else "https://example.com/")
        query = Query.get(phrase(number))
        query.add_hit()
        query.add_hit(date(2020, 1, 1 + number))
        SearchPromotion.objects.create(query=query, page=entries[number], sort_order=number, description=phrase(number))
    for number in range(5):
        Embed.objects.create(
            url=f"https://example.com/film?n={number}",
            hash=f"{number:032x}",
            type="video",
            html=f"<iframe title='{phrase(number)}'></iframe>",
            width=640,
            cache_until=datetime(2038, 1, 19, 3, 14, 8, 999999, tzinfo=UTC),
        )
        APIToken.create_token(user=staff[number], name=phrase(number))
        EditingSession.objects.create(
            user=staff[number],
            content_type=ContentType.objects.get_for_model(BlogEntryPage),
            object_id=str(entries[number].pk),
            last_seen_at=timezone.now(),
            is_editing=True,
        )
        FormState.objects.update_or_create_by_instance(
            entries[number],
            user=staff[number],
            defaults={"data": urlencode({"title": phrase(number)}), "last_updated_at": timezone.now()},
        )


def translate(entries: list[BlogEntryPage]) -> None:
    portuguese = Locale.objects.create(language_code="pt")
    for entry in entries[:6]:
        entry.copy_for_translation(portuguese, copy_parents=True).save_revision().publish()
    for snippet in TranslatableSnippet.objects.all():
        snippet.copy_for_translation(portuguese).save()


def visit_as_people(form: FormPage, entries: list[BlogEntryPage]) -> None:
    """Send the form as visitors do, and edit, rename and delete in the admin."""
    visitor = Client()
    for number in range(SUBMISSIONS):
        answer = visitor.post(
            form.url,
            {
                "the_singleline": title_of(number),
                "the_multiline": phrase(number),
                "the_email": "visitor@example.com",
                "the_number": str(Decimal(number) / 8),
                "the_date": "2024-02-29",
            },
        )
        assert answer.status_code == 200, answer
        assert b"Thank you." in answer.content, answer.content
    admin = Client()
    assert admin.login(username="chief", password=PASSWORD)
    address = "/admin/snippets/snippetstests/standardsnippet/add/"
    for number in range(6):
        assert admin.post(address, {"text": phrase(number)}).status_code == 302
    # Renamed, for which Wagtail makes a redirect from the old address.
    entry = BlogEntryPage.objects.get(pk=entries[35].pk)
    old_address, entry.slug = entry.url, "renamed"
    entry.save_revision(user=User.objects.get(username="chief")).publish()
    assert visitor.get(old_address).status_code == 301
