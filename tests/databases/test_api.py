"""Chosen models and rows are added to a destination that holds others, which stay as they are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connections
from django.db.models import Model, QuerySet

from migrator.databases.api import batch_migrate_models
from migrator.databases.result import RunResult
from migrator.errors import DataRejected, Refused, UsageError
from tests.databases.snapshots import insert_rows, snapshot, unchecked
from tests.management.running import execute, facts, run
from tests.pairs import in_turn
from tests.servers.databases import Pair
from tests.testapp.models import (
    Article,
    BooleanValue,
    Comment,
    CompositeKey,
    DateTimeKey,
    Egg,
    Hen,
    Pizzeria,
    Place,
    Rating,
    Restaurant,
    Ring,
    Tag,
    TreeNode,
)

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

ACROSS = [Pair("sqlite_a", "postgresql_b"), Pair("postgresql_a", "mysql_b"), Pair("mysql_a", "sqlite_b")]
TAGGED = Article.tags.through
RELATED = Article.related.through
HERE, CHOSEN = 900, 10  # a key that only the destination has; the largest key that is chosen


def add(pair: Pair, *models: str, **options: Any) -> RunResult:
    return batch_migrate_models(models=models, source=pair.source, dest=pair.dest, **options)


def keys(model: type[Model], alias: str) -> list[Any]:
    return list(QuerySet(model, using=alias).order_by("pk").values_list("pk", flat=True))


def fill(alias: str) -> None:
    numbers = range(1, 2 * CHOSEN + 1)
    insert_rows(Tag, alias, [{"id": n, "name": f"tag {n}"} for n in numbers])
    insert_rows(Article, alias, [{"id": n, "name": f"article {n}"} for n in numbers])
    insert_rows(TAGGED, alias, [{"id": n, "article_id": n, "tag_id": n} for n in numbers])
    insert_rows(Rating, alias, [{"id": n, "article_id": n, "tag_id": n, "stars": 3} for n in numbers])
    insert_rows(RELATED, alias, [{"id": 1, "from_article_id": 1, "to_article_id": 2}])


@pytest.fixture(params=ACROSS, ids=str)
def across(request: pytest.FixtureRequest, databases: FreshDatabases) -> Pair:
    pair: Pair = request.param
    databases.fresh(*pair)
    return pair


@in_turn
def test_adds_the_chosen_rows_with_their_many_to_many_rows(pair: Pair) -> None:
    fill(pair.source)
    insert_rows(Tag, pair.dest, [{"id": HERE, "name": "here"}])
    insert_rows(Article, pair.dest, [{"id": HERE, "name": "here"}])
    outcome = add(pair, "testapp.Tag", "testapp.Article", filters=[f"id__lte={CHOSEN}"], chunk_size=3)
    assert outcome.exit_code == 0
    chosen = list(range(1, CHOSEN + 1))
    assert keys(Tag, pair.dest) == keys(Article, pair.dest) == [*chosen, HERE]
    assert keys(TAGGED, pair.dest) == keys(Rating, pair.dest) == chosen
    assert keys(RELATED, pair.dest) == [1]
    assert QuerySet(Tag, using=pair.dest).get(pk=HERE).name == "here"
    new = QuerySet(Tag, using=pair.dest).create(name="after")
    assert new.pk not in [*chosen, HERE]


def test_a_dry_run_and_a_refusal_change_nothing(across: Pair) -> None:
    fill(across.source)
    insert_rows(Tag, across.dest, [{"id": 3, "name": "taken"}])
    before = snapshot(across.dest, [Tag, Article])
    add(across, "testapp.Article", dry_run=True, on_error="stop", filters=["id=999"])
    with pytest.raises(Refused) as raised:
        add(across, "testapp.Tag")
    assert "testapp.Tag: 1 chosen row has a primary key that the destination already has (for example 3)." in str(
        raised.value
    )
    assert snapshot(across.dest, [Tag, Article]) == before


def test_names_rows_whose_parents_are_missing_before_the_first_write(across: Pair) -> None:
    fill(across.source)
    insert_rows(Tag, across.dest, [{"id": n, "name": f"tag {n}"} for n in range(1, 16)])
    with pytest.raises(Refused) as raised:
        add(across, "testapp.Article")
    message = str(raised.value)
    assert "Nothing was written. 2 problems stop this run" in message
    for model in ("testapp.Article_tags", "testapp.Rating"):
        assert (
            f"{model}: 5 rows have no matching row of testapp.Tag for tag_id (for example primary key 16, 17, "
            f"18), neither in this run nor in '{across.dest}'. Copy the rows of testapp.Tag too, or pass "
            "--with-parents." in message
        )
    assert keys(Article, across.dest) == []


def test_takes_the_parts_of_rows_that_lie_in_parents_tables(across: Pair) -> None:
    insert_rows(Place, across.source, [{"id": n, "name": f"place {n}"} for n in range(1, 7)])
    insert_rows(Restaurant, across.source, [{"place_ptr_id": n, "seats": n} for n in (2, 3, 4)])
    insert_rows(Pizzeria, across.source, [{"restaurant_ptr_id": n} for n in (3, 4)])
    insert_rows(Place, across.dest, [{"id": HERE, "name": "here"}])
    assert add(across, "testapp.Pizzeria", filters=["name=place 3"]).exit_code == 0
    assert keys(Place, across.dest) == [3, HERE]
    assert keys(Restaurant, across.dest) == keys(Pizzeria, across.dest) == [3]


@pytest.mark.parametrize("chunk_size", [1, 100])
def test_adds_rows_that_point_at_each_other_with_constraints_on(across: Pair, chunk_size: int) -> None:
    """Parents come after their children, and in a ring there is no first row at all."""
    parents = [{"id": n, "name": f"{n}", "parent_id": n + 1 if n < 9 else None} for n in range(1, 10)]
    insert_rows(TreeNode, across.dest, [{"id": HERE, "name": "here", "parent_id": None}])
    with unchecked(connections[across.source]):
        insert_rows(TreeNode, across.source, parents)
        insert_rows(Ring, across.source, [{"id": n, "name": "r", "following_id": n % 4 + 1} for n in range(1, 5)])
        insert_rows(Hen, across.source, [{"id": n, "name": "h", "hatched_from_id": n} for n in range(1, 5)])
        insert_rows(Egg, across.source, [{"id": n, "name": "e", "laid_by_id": n % 4 + 1} for n in range(1, 5)])
    names = ["testapp.TreeNode", "testapp.Ring", "testapp.Hen", "testapp.Egg"]
    assert add(across, *names, chunk_size=chunk_size).exit_code == 0
    assert keys(TreeNode, across.dest) == [*range(1, 10), HERE]
    for model in (Ring, Hen, Egg):
        assert snapshot(across.source, [model]) == snapshot(across.dest, [model])


def test_chooses_rows_with_a_primary_key_of_several_columns(across: Pair) -> None:
    rows = [{"tenant": tenant, "number": number, "label": "x"} for tenant in "123" for number in (1, 2)]
    insert_rows(CompositeKey, across.source, rows)
    insert_rows(CompositeKey, across.dest, [{"tenant": "9", "number": 9, "label": "x"}])
    assert add(across, "testapp.CompositeKey", filters=["tenant__in=1,3"], chunk_size=1).exit_code == 0
    assert keys(CompositeKey, across.dest) == [("1", 1), ("1", 2), ("3", 1), ("3", 2), ("9", 9)]


def test_finds_keys_that_are_moments_in_the_destination(across: Pair) -> None:
    rows = [{"at": datetime(2026, 1, day, 1, 2, 3, 4, tzinfo=UTC), "label": f"{day}"} for day in (1, 2, 3)]
    insert_rows(DateTimeKey, across.source, rows)
    insert_rows(DateTimeKey, across.dest, rows[1:2])
    with pytest.raises(Refused, match=r"DateTimeKey: 1 .*2026-01-02"):
        add(across, "testapp.DateTimeKey")
    assert add(across, "testapp.DateTimeKey", filters=["label__in=1,3"]).exit_code == 0
    assert keys(DateTimeKey, across.dest) == [row["at"] for row in rows]


def test_translates_content_types_that_have_other_ids_there(across: Pair) -> None:
    """They are rows of the destination's own, and the same model has another id on each side."""
    content_type = QuerySet(ContentType, using=across.source).get(app_label="testapp", model="tag")
    QuerySet(ContentType, using=across.source).filter(pk=content_type.pk).delete()
    moved = QuerySet(ContentType, using=across.source).create(pk=7007, app_label="testapp", model="tag")
    insert_rows(Comment, across.source, [{"id": 1, "content_type_id": moved.pk, "object_id": 1, "text": "hello"}])
    assert add(across, "testapp.Comment").exit_code == 0
    (arrived,) = QuerySet(Comment, using=across.dest)
    natural = QuerySet(ContentType, using=across.dest).get(pk=arrived.content_type_id).natural_key()
    assert natural == ("testapp", "tag")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["id__in=1,3"], [1, 3]),
        (["id__range=4,6"], [4, 5, 6]),
        (["name=tag 7"], [7]),
        (["name__startswith=tag 1", "id__gt=15"], [16, 17, 18, 19]),
        (["id__isnull=true"], []),
        (["article__name=article 5"], [5]),
        (["name=it's; DROP TABLE testapp_tag --"], []),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_filters_are_django_lookups(databases: FreshDatabases, words: list[str], expected: list[int]) -> None:
    pair = Pair("sqlite_a", "sqlite_b")
    databases.fresh(*pair)
    fill(pair.source)
    assert add(pair, "testapp.Tag", filters=words).exit_code == 0
    assert keys(Tag, pair.dest) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nothing", "--filter 'nothing' is not a field lookup: field__lookup=value."),
        ("=1", "--filter '=1' is not a field lookup: field__lookup=value."),
        ("id__isnull=perhaps", "--filter 'id__isnull=perhaps': isnull takes true or false."),
        ("colour=red", "--filter cannot be applied to testapp.Tag: Cannot resolve keyword 'colour' into field."),
        ("id__lte=many", "--filter cannot be applied to testapp.Tag: Field 'id' expected a number but got 'many'."),
    ],
)
def test_refuses_a_filter_that_cannot_be_right(databases: FreshDatabases, text: str, reason: str) -> None:
    databases.fresh("sqlite_a", "sqlite_b")
    with pytest.raises(UsageError) as raised:
        add(Pair("sqlite_a", "sqlite_b"), "testapp.Tag", filters=[text])
    assert str(raised.value).startswith(reason)


def test_goes_on_where_it_was_stopped_and_leaves_the_other_rows_alone(databases: FreshDatabases) -> None:
    pair = Pair("sqlite_a", "postgresql_b")
    databases.fresh(*pair)
    fill(pair.source)
    insert_rows(Tag, pair.dest, [{"id": HERE, "name": "here"}])
    insert_rows(Tag, pair.source, [{"id": 99, "name": "ends in a byte that is no text"}])
    with connections[pair.source].cursor() as cursor:
        cursor.execute("UPDATE testapp_tag SET name = CAST(x'41ff' AS TEXT) WHERE id = 99")
    with pytest.raises(DataRejected):
        add(pair, "testapp.Tag", chunk_size=5)
    assert keys(Tag, pair.dest) == [*range(1, 2 * CHOSEN + 1), HERE]
    QuerySet(Tag, using=pair.source).filter(pk=99).update(name="mended")
    QuerySet(Tag, using=pair.source).filter(pk=2).update(name="changed meanwhile")
    assert add(pair, "testapp.Tag", chunk_size=5, resume=True).exit_code == 0
    assert keys(Tag, pair.dest) == [*range(1, 2 * CHOSEN + 1), 99, HERE]
    assert QuerySet(Tag, using=pair.dest).get(pk=2).name == "changed meanwhile"


def test_advises_no_option_that_it_does_not_take(databases: FreshDatabases) -> None:
    databases.fresh("sqlite_a", "sqlite_b")
    execute("sqlite_b", "DROP TABLE testapp_chapter", "DELETE FROM django_migrations WHERE app = 'testapp'")
    finished = run("batch_migrate_models", "testapp.Chapter", "--source", "sqlite_a", "--dest", "sqlite_b")
    assert finished.code == 1
    assert "Run manage.py migrate --database sqlite_b" in finished.err
    assert "Apply the project's migrations there, or leave the model out with --exclude." in finished.err
    assert "--migrate" not in finished.err
    assert "--replace" not in finished.err


def test_leaves_out_what_would_come_along(databases: FreshDatabases) -> None:
    databases.fresh("sqlite_a", "sqlite_b")
    insert_rows(Article, "sqlite_a", [{"id": 1, "name": "one"}])
    insert_rows(Article.tags.through, "sqlite_a", [{"article_id": 1, "tag_id": 404}])
    words = ["batch_migrate_models", "testapp.Article", "--source", "sqlite_a", "--dest", "sqlite_b", "--no-input"]
    words += ["-e", "testapp.Article_tags", "--filter", "id=1"]
    finished = run(*words)
    assert finished.code == 0, finished.err
    plan, _, _ = finished.out.partition("DONE  ")
    assert facts(plan)["left out"] == "testapp.Article_tags (excluded)"
    assert [QuerySet(model, using="sqlite_b").count() for model in (Article, Article.tags.through)] == [1, 0]
    with pytest.raises(UsageError, match="no table belongs to"):
        batch_migrate_models(models=["testapp.Tag"], exclude=["testapp.Tag"], source="sqlite_a", dest="sqlite_b")


def test_the_command_says_what_it_adds(databases: FreshDatabases) -> None:
    databases.fresh("sqlite_a", "sqlite_b")
    fill("sqlite_a")
    insert_rows(Tag, "sqlite_b", [{"id": HERE, "name": "here"}])
    words = ["batch_migrate_models", "testapp.Tag", "--source", "sqlite_a", "--dest", "sqlite_b"]
    finished = run(*words, "--filter", "id__lte=4", "--no-input")
    assert finished.code == 0
    assert finished.out.startswith("PLAN  Add 4 rows of 1 table from 'sqlite_a' to 'sqlite_b'.\n")
    assert facts(finished.out)["keep"] == "rows that the destination already has stay unchanged"
    assert "DONE  4 rows of 1 table copied" in finished.out
    assert keys(Tag, "sqlite_b") == [1, 2, 3, 4, HERE]
    again = run(*words, "--filter", "id__lte=4", "--no-input")
    assert again.code == 1
    assert "4 chosen rows have a primary key that the destination already has" in again.err
    assert run(*words, "--filter", "id__lte=x").code == 2


# -- a slice: filters of single models, and the parents of chosen rows ------------------------------------------------


def test_a_filter_can_be_of_one_model(across: Pair) -> None:
    fill(across.source)
    insert_rows(Place, across.source, [{"id": n, "name": f"place {n}"} for n in range(1, 10)])
    filters = ["id__lte=12", "testapp.Place:id__lte=3", "testapp.tag:name__startswith=tag 1"]
    assert add(across, "testapp.Tag", "testapp.Place", filters=filters).exit_code == 0
    assert keys(Place, across.dest) == [1, 2, 3]
    assert keys(Tag, across.dest) == [1, 10, 11, 12]


@in_turn
def test_parents_come_along(pair: Pair) -> None:
    fill(pair.source)
    assert add(pair, "testapp.Rating", filters=["id__in=2,5"], with_parents=True).exit_code == 0
    assert keys(Rating, pair.dest) == keys(Article, pair.dest) == keys(Tag, pair.dest) == [2, 5]
    assert keys(TAGGED, pair.dest) == [], "not what refers to a parent"


def test_parents_of_named_models_come_along_in_spite_of_their_filter(across: Pair) -> None:
    fill(across.source)
    filters = ["testapp.Rating:id=7", "testapp.Tag:id=2"]
    assert add(across, "testapp.Rating", "testapp.Tag", filters=filters, with_parents=True).exit_code == 0
    assert keys(Tag, across.dest) == [2, 7]


def test_ancestors_come_along(across: Pair) -> None:
    parents = {1: None, 2: 5, 3: 2, 4: None, 5: 1, 6: 3}
    with unchecked(connections[across.source]):
        insert_rows(TreeNode, across.source, [{"id": n, "name": f"{n}", "parent_id": up} for n, up in parents.items()])
    assert add(across, "testapp.TreeNode", filters=["id=3"], with_parents=True).exit_code == 0
    assert keys(TreeNode, across.dest) == [1, 2, 3, 5]


def test_parents_that_inherit_come_along(across: Pair) -> None:
    for number in (1, 2):
        insert_rows(Place, across.source, [{"id": number, "name": f"place {number}"}])
        insert_rows(Restaurant, across.source, [{"place_ptr_id": number, "seats": number}])
        insert_rows(Pizzeria, across.source, [{"restaurant_ptr_id": number}])
    assert add(across, "testapp.Pizzeria", filters=["pk=2"], with_parents=True).exit_code == 0
    assert keys(Place, across.dest) == keys(Restaurant, across.dest) == [2]


def test_content_types_are_found_there_and_not_brought(across: Pair) -> None:
    before = keys(ContentType, across.dest)
    content_type = QuerySet(ContentType, using=across.source).get(app_label="testapp", model="tag")
    insert_rows(Comment, across.source, [{"content_type_id": content_type.pk, "object_id": "1", "text": "hello"}])
    assert add(across, "testapp.Comment", with_parents=True).exit_code == 0
    assert keys(ContentType, across.dest) == before


def test_refuses_parents_in_a_circle(databases: FreshDatabases) -> None:
    databases.fresh("sqlite_a", "sqlite_b")
    pair = Pair("sqlite_a", "sqlite_b")
    with pytest.raises(UsageError) as raised:
        add(pair, "testapp.Hen", filters=["id=1"], with_parents=True)
    assert "testapp.Egg and testapp.Hen refer to each other." in str(raised.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("testapp.Article:id=1", "--filter is for testapp.Article, which is not one of the models to copy."),
        ("testapp:id=1", "--filter 'testapp:id=1' names 'testapp', which is not a model: app_label.Model."),
        ("testapp.Tga:id=1", "'testapp.Tga' is not an installed app or model: "),
    ],
)
def test_refuses_a_filter_of_another_model(databases: FreshDatabases, text: str, reason: str) -> None:
    databases.fresh("sqlite_a", "sqlite_b")
    with pytest.raises(UsageError) as raised:
        add(Pair("sqlite_a", "sqlite_b"), "testapp.Tag", filters=[text])
    assert str(raised.value).startswith(reason)


@pytest.mark.parametrize(("text", "expected"), [("value=true", [1]), ("value__exact=False", [2]), ("value=no", [2])])
def test_booleans_can_be_true_and_false(databases: FreshDatabases, text: str, expected: list[int]) -> None:
    pair = Pair("sqlite_a", "sqlite_b")
    databases.fresh(*pair)
    values = {1: True, 2: False, 3: None}
    insert_rows(BooleanValue, pair.source, [{"id": n, "label": f"{n}", "value": one} for n, one in values.items()])
    assert add(pair, "testapp.BooleanValue", filters=[text]).exit_code == 0
    assert keys(BooleanValue, pair.dest) == expected
