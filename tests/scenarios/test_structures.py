"""Every shape of table arrives whole: keys, inheritance, circles, through tables, names, and nobody's code runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connections
from django.db.models import F, QuerySet
from django.db.models.signals import (
    class_prepared,
    m2m_changed,
    post_delete,
    post_init,
    post_save,
    pre_delete,
    pre_init,
    pre_save,
)
from django.test import override_settings

from migrator.databases.api import RunResult, batch_migrate
from migrator.errors import DataRejected, Refused
from tests.databases.snapshots import differences, insert_rows, snapshot, tables
from tests.pairs import in_turn
from tests.servers.databases import PAIRS, Pair
from tests.testapp import models, rows

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

# Each engine once as source and once as destination.
THREE_PAIRS = [PAIRS[1], PAIRS[5], PAIRS[6]]
LABELS = ("testapp", "testapp.Legacy")


def move(pair: Pair, *labels: str, **options: Any) -> RunResult:
    outcome = batch_migrate(source=pair.source, dest=pair.dest, labels=labels, **options)
    assert outcome.exit_code == 0, outcome.verification
    return outcome


def assert_equal_apps(pair: Pair, *app_labels: str) -> None:
    of = [model for app_label in app_labels for model in tables(app_label)]
    assert differences(snapshot(pair.source, of), snapshot(pair.dest, of)) == []


def rows_of(model: Any, alias: str) -> QuerySet[Any, Any]:
    return QuerySet(model, using=alias)


def test_every_structure_has_rows(databases: FreshDatabases) -> None:
    """Or the tests below prove less than they seem to."""
    databases.fresh("sqlite_a")
    rows.fill("sqlite_a")
    without = {m.__name__ for m in tables("testapp") if not rows_of(m, "sqlite_a").exists()}
    assert without == {"Empty", *(m.__name__ for m in tables("testapp") if m.__module__.endswith(".values"))}


def test_keeps_every_structure(pair: Pair) -> None:
    rows.fill(pair.source)
    before = snapshot(pair.source, tables("testapp"))
    outcome = move(pair, *LABELS, chunk_size=3)
    assert differences(before, snapshot(pair.dest, tables("testapp"))) == []
    assert differences(before, snapshot(pair.source, tables("testapp"))) == []
    assert {name: tally.rows_written for name, tally in outcome.row_counts.items()} == {
        model._meta.db_table: len(before[model._meta.label]) for model in tables("testapp")
    }


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
@pytest.mark.parametrize("options", [{"keep_indexes": True}, {"chunk_size": 1}], ids=str)  # large ones: test_values
def test_keeps_every_structure_with(pair: Pair, options: dict[str, Any]) -> None:
    rows.fill(pair.source)
    move(pair, *LABELS, **options)
    assert_equal_apps(pair, "testapp")


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_moves_the_whole_project_with_other_ids_of_content_types(pair: Pair) -> None:
    """What `migrate` made under other ids in the destination is replaced by the source's rows."""
    shift_content_types(pair.dest, 500)
    rows.fill(pair.source)
    insert_rows(Group, pair.source, [{"id": 4, "name": "staff"}])
    insert_rows(User, pair.source, [user(-3, "below"), user(9, "someone")])
    insert_rows(User.groups.through, pair.source, [{"id": 70, "user_id": 9, "group_id": 4}])
    call_command("migrate", database=pair.dest, verbosity=0)
    rows_of(models.Legacy, pair.source)._raw_delete(pair.source)
    move(pair)
    assert_equal_apps(pair, "testapp", "auth", "contenttypes", "sites", "admin", "sessions")


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_points_generic_relations_at_the_ids_of_the_destination(pair: Pair) -> None:
    shift_content_types(pair.dest, 500)
    rows.fill(pair.source)
    before = snapshot(pair.dest, tables("contenttypes"))
    move(pair, "testapp")
    assert comments(pair.dest) == comments(pair.source) != []
    assert differences(before, snapshot(pair.dest, tables("contenttypes"))) == []
    ids = [set(rows_of(models.Comment, alias).values_list("content_type_id", flat=True)) for alias in pair]
    assert not ids[0] & ids[1]


GRANTED = ("add_tag", "change_article", "view_permission")


def grant(alias: str, *codenames: str) -> None:
    """Give one user, and one group, permissions."""
    insert_rows(Group, alias, [{"id": 4, "name": "staff"}])
    insert_rows(User, alias, [user(9, "someone")])
    ids = [rows_of(Permission, alias).get(codename=codename).pk for codename in codenames]
    insert_rows(Group.permissions.through, alias, [{"id": n, "group_id": 4, "permission_id": n} for n in ids])
    insert_rows(User.user_permissions.through, alias, [{"id": n, "user_id": 9, "permission_id": n} for n in ids[1:]])


def granted(alias: str) -> list[tuple[Any, ...]]:
    names = ("permission__content_type__app_label", "permission__content_type__model", "permission__codename")
    of_groups = rows_of(Group.permissions.through, alias).order_by("id").values_list("id", "group__name", *names)
    of_users = rows_of(User.user_permissions.through, alias).order_by("id").values_list("id", "user__username", *names)
    return [*of_groups, *of_users]


@pytest.mark.parametrize("has_other_types", [True, False], ids=["with other types", "with the same types"])
@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_points_at_permissions_by_the_ids_of_the_destination(pair: Pair, has_other_types: bool) -> None:
    if has_other_types:
        shift_content_types(pair.dest, 500)
        call_command("migrate", database=pair.dest, verbosity=0)
    rows_of(Permission, pair.dest).update(id=F("id") * -1)  # so that their order is another one, too
    grant(pair.source, *GRANTED)
    before = snapshot(pair.dest, [ContentType, Permission])
    move(pair, "auth.Group", "auth.User", verify="full")
    assert granted(pair.dest) == granted(pair.source)
    assert sorted(codename for *_, codename in granted(pair.dest)) == sorted([*GRANTED, *GRANTED[1:]])
    assert differences(before, snapshot(pair.dest, [ContentType, Permission])) == []


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_refuses_to_grant_a_permission_that_the_destination_has_not(pair: Pair) -> None:
    grant(pair.source, *GRANTED)
    rows_of(Permission, pair.dest).filter(codename=GRANTED[-1])._raw_delete(pair.dest)
    with pytest.raises((Refused, DataRejected), match=r"permission_id|auth\.Permission"):
        move(pair, "auth.Group", "auth.User")
    assert granted(pair.dest) == []


def shift_content_types(alias: str, by: int) -> None:
    """Give the content types of a fresh database other ids, and its permissions with them."""
    with connections[alias].constraint_checks_disabled():
        rows_of(Permission, alias)._raw_delete(alias)
    rows_of(ContentType, alias).update(id=F("id") + by)
    ContentType.objects.clear_cache()


def comments(alias: str) -> list[tuple[Any, ...]]:
    of = rows_of(models.Comment, alias).order_by("id")
    return list(of.values_list("id", "content_type__app_label", "content_type__model", "object_id", "text"))


def user(key: int, name: str) -> dict[str, Any]:
    return {
        "id": key, "username": name, "password": f"!{name}", "first_name": "", "last_name": "", "email": "",
        "is_staff": False, "is_active": True, "is_superuser": False, "date_joined": rows.NOON,
    }  # fmt: skip


@in_turn
def test_computes_generated_columns_in_the_destination(pair: Pair) -> None:
    insert_rows(models.Counted, pair.source, [{"width": -3, "height": 4}, {"width": 2**31 - 1, "height": 1}])
    move(pair, "testapp.Counted")
    areas = [list(rows_of(models.Counted, alias).order_by("id").values_list("area", flat=True)) for alias in pair]
    assert areas == [[-12, 2**31 - 1]] * 2


@in_turn
def test_key_of_zero_stays_zero(pair: Pair) -> None:
    insert_rows(models.AutoKey, pair.source, [{"id": 0, "label": "zero"}, {"id": 5, "label": "five"}])
    move(pair, "testapp.AutoKey")
    found = rows_of(models.AutoKey, pair.dest).order_by("id").values_list("id", "label")
    assert list(found) == [(0, "zero"), (5, "five")]


@in_turn
def test_restamps_nothing_and_hides_nothing(pair: Pair) -> None:
    insert_rows(models.Stamped, pair.source, rows.BEHAVIOUR[1][1])
    insert_rows(models.Hidden, pair.source, rows.BEHAVIOUR[0][1])
    outcome = move(pair, "testapp.Stamped", "testapp.Hidden")
    assert rows_of(models.Stamped, pair.dest).values("created", "changed", "day", "shouted").get() == {
        "created": rows.NOON, "changed": rows.NOON, "day": rows.NOON.date(), "shouted": "quiet",
    }  # fmt: skip
    assert outcome.row_counts["testapp_hidden"].rows_written == 2
    assert set(rows_of(models.Hidden, pair.dest).values_list("name", flat=True)) == {"shown", "hidden"}


@pytest.fixture
def signals_of_models() -> Iterator[list[Any]]:
    """Collect the signals of every model that is moved."""
    sent: list[Any] = []
    senders = {model for app in ("testapp", "auth") for model in tables(app)}

    def note(sender: Any, **kwargs: Any) -> None:
        if sender in senders:
            sent.append((kwargs["signal"], sender))

    watched = (pre_init, post_init, pre_save, post_save, pre_delete, post_delete, m2m_changed, class_prepared)
    for signal in watched:
        signal.connect(note, dispatch_uid="test_structure")
    yield sent
    for signal in watched:
        signal.disconnect(note, dispatch_uid="test_structure")


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_makes_no_instance_and_sends_no_signal(pair: Pair, signals_of_models: list[Any]) -> None:
    insert_rows(models.Fragile, pair.source, [{"name": "whole"}])
    insert_rows(models.Listened, pair.source, [{"name": "heard"}])
    insert_rows(models.Fragile, pair.dest, [{"name": "to be replaced"}])
    insert_rows(Group, pair.source, [{"name": "staff"}])
    signals_of_models.clear()
    move(pair, "testapp", "auth.Group", replace=pair.dest)
    assert signals_of_models == []
    assert list(rows_of(models.Fragile, pair.dest).values_list("name", flat=True)) == ["whole"]


@in_turn
def test_leaves_an_unmanaged_table_alone_unless_named(pair: Pair) -> None:
    insert_rows(models.Legacy, pair.source, [{"code": "new", "amount": 1}])
    insert_rows(models.Legacy, pair.dest, [{"code": "old", "amount": 2}])
    outcome = move(pair, "testapp")
    assert list(rows_of(models.Legacy, pair.dest).values_list("code", flat=True)) == ["old"]
    assert [str(left.reason) for left in outcome.plan.left_out if left.label == "testapp.Legacy"] == [
        "unmanaged; name it to copy it"
    ]
    move(pair, "testapp.Legacy", replace=pair.dest)
    assert list(rows_of(models.Legacy, pair.dest).values_list("code", flat=True)) == ["new"]


def test_proxies_and_swapped_models_are_no_tables_of_their_own(databases: FreshDatabases) -> None:
    databases.fresh("sqlite_a", "sqlite_b")
    labels = {t.table.label for t in move(Pair("sqlite_a", "sqlite_b"), "testapp").plan.tables}
    assert labels >= {"testapp.Place", "testapp.Restaurant", "testapp.Article_tags", "testapp.Rating"}
    assert not labels & {"testapp.LoudPlace", "testapp.SwappedUser"}


class KeepsTagsAtHome:
    """A router that gives `Tag` to some databases only."""

    def __init__(self) -> None:
        self.allowed: dict[str, bool] = {}

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **hints: Any) -> bool | None:
        return self.allowed.get(db, True) if model_name == "uniquecode" else None


@pytest.mark.parametrize("side", ["source", "dest"])
def test_a_router_keeps_a_model_out_and_the_plan_says_so(databases: FreshDatabases, side: str) -> None:
    pair = Pair("sqlite_a", "sqlite_b")
    databases.fresh(*pair)
    insert_rows(models.UniqueCode, pair.source, [{"code": "a", "label": "a"}])
    insert_rows(models.Tag, pair.source, [{"name": "a"}])
    router = KeepsTagsAtHome()
    alias = getattr(pair, side)
    router.allowed[alias] = False
    with override_settings(DATABASE_ROUTERS=[router]):
        outcome = move(pair, "testapp")
    reasons = {left.label: left.reason for left in outcome.plan.left_out}
    assert reasons["testapp.UniqueCode"] == f"the database router does not allow it in {alias!r}"
    assert not rows_of(models.UniqueCode, pair.dest).exists()
    assert rows_of(models.Tag, pair.dest).exists()


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_adds_nothing_to_tables_outside_of_the_selection(pair: Pair) -> None:
    rows.fill(pair.source)
    outside = [model for model in tables("testapp") if model not in (models.Tag, models.Chapter)]
    before = snapshot(pair.dest, outside)
    move(pair, "testapp.Tag", "testapp.Chapter")
    assert differences(before, snapshot(pair.dest, outside)) == []
    chosen = [models.Tag, models.Chapter]
    assert differences(snapshot(pair.source, chosen), snapshot(pair.dest, chosen)) == []
    in_order = rows_of(models.Chapter, pair.dest).filter(tag_id=1).order_by("_order")
    assert list(in_order.values_list("title", flat=True)) == ["first", "last"]
