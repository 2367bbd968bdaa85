"""Rows for the models with special structures: every kind of key, cycle, name and constraint."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db import connections, models

from tests.databases.snapshots import Row, insert_rows, unchecked
from tests.testapp.models import (
    Article,
    AutoKey,
    BigAutoKey,
    Chapter,
    Comment,
    CompositeKey,
    CompositeLink,
    Constrained,
    Counted,
    Dangling,
    DateTimeKey,
    DecimalKey,
    Defaulted,
    Egg,
    Fragile,
    Hen,
    Hidden,
    IntegerKey,
    KeyIsPointer,
    Legacy,
    Listened,
    OddNames,
    Paper,
    Pizzeria,
    Place,
    Player,
    Pointer,
    Rating,
    Restaurant,
    Ring,
    Rock,
    Scissors,
    SmallAutoKey,
    Stamped,
    Tag,
    Team,
    TextKey,
    TreeNode,
    UniqueCode,
    UUIDDocument,
    UUIDKey,
)

NIL, LOW, HIGH, MAX = (uuid.UUID(int=value) for value in (0, 1, 1 << 127, (1 << 128) - 1))
NOON = datetime(2001, 2, 3, 12, 0, 0, 123456, tzinfo=UTC)
FIRST, LAST = NOON.replace(year=1), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
WORDS = ("", "0", "10", "9", "B", "a", "ä-not-a", "it's 50% \\ off", "日本", "😀", "~")


def _labelled(name: str, *keys: Any) -> list[Row]:
    return [{name: key, "label": f"the row of {key}"} for key in keys]


def _named(*names: str, **columns: Sequence[Any]) -> list[Row]:
    others = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return [{"id": i, "name": name, **(others[i - 1] if others else {})} for i, name in enumerate(names, start=1)]


KEYS: list[tuple[type[models.Model], list[Row]]] = [
    (SmallAutoKey, _labelled("id", -32768, -1, 0, 1, 32767)),
    (AutoKey, _labelled("id", -(2**31), -7, 0, 1, 2, 900, 2**31 - 1)),
    (BigAutoKey, _labelled("id", -(2**63), -1, 0, 1, 2**31, 2**53 + 1, 2**63 - 1)),
    (IntegerKey, _labelled("number", -5, 0, 5)),
    (UUIDKey, _labelled("id", NIL, LOW, HIGH, MAX, uuid.UUID("0a0b0c0d-0000-4000-8000-00000000ffff"))),
    (UUIDDocument, [{"id": LOW, "value": {"b": 1, "aa": [1.5, None, "é"]}}, {"id": HIGH, "value": None}]),
    (
        TextKey,
        _labelled("code", *WORDS),
    ),
    (
        DateTimeKey,
        _labelled("at", FIRST, NOON, LAST),
    ),
    (DecimalKey, _labelled("amount", *map(Decimal, ("-999999999.999", "-0.001", "0", "10.000", "9.5")))),
    (
        CompositeKey,
        [
            {"tenant": tenant, "number": number, "label": f"{tenant} {number}"}
            for tenant in ("", "a", "b's, \\ 1", "ü")
            for number in (-1, 0, 1, 2**31 - 1)
        ],
    ),
    (
        CompositeLink,
        [{"left_id": 0, "right_id": NIL, "weight": 0.1}, {"left_id": -7, "right_id": MAX, "weight": 1e-300}],
    ),
    (UniqueCode, [{"code": "", "label": "empty"}, {"code": "42", "label": "digits"}]),
    (
        Pointer,
        [
            {"to_auto_id": 0, "to_big_id": 0, "to_uuid_id": NIL, "to_text_id": "", "to_code_id": ""},
            {"to_auto_id": 2**31 - 1, "to_big_id": 2**63 - 1, "to_uuid_id": MAX, "to_text_id": "😀"},
            {"to_code_id": "42", "one_to_uuid_id": HIGH},
            {},
        ],
    ),
    (KeyIsPointer, _labelled("target_id", "", "it's 50% \\ off", "日本")),
]

RELATIONS: list[tuple[type[models.Model], list[Row]]] = [
    (TreeNode, _named("leaf", "root", "itself", parent_id=(2, None, 3))),
    (Ring, _named("itself", "to the next", "to the first", following_id=(1, 3, 1))),
    (Team, _named("red", "blue", captain_id=(2, None))),
    (Player, _named("Ann", "Bob", team_id=(2, 1))),
    (Hen, _named("Berta", "Clara", hatched_from_id=(2, 1))),
    (Egg, _named("white", "brown", laid_by_id=(1, 2))),
    (Rock, _named("granite", beats_id=(1,))),
    (Scissors, _named("blunt", beats_id=(1,))),
    (Paper, _named("thin", "lonely", beats_id=(1, None))),
    (Dangling, _named("to a row", "to nothing", gone_id=(NIL, uuid.UUID(int=12345)))),
    (Tag, _named("first", "second", "third")),
    (Article, _named("one", "two", "three")),
    (Article.tags.through, [{"article_id": 1, "tag_id": 3}, {"article_id": 3, "tag_id": 1}]),
    (Article.marks.through, [{"article_id": 2, "uuidkey_id": NIL}, {"article_id": 2, "uuidkey_id": MAX}]),
    (
        Rating,
        [{"id": 4, "article_id": 1, "tag_id": 1, "stars": -5}, {"article_id": 2, "tag_id": 1, "stars": 5}],
    ),
    (
        Article.related.through,
        [{"from_article_id": 1, "to_article_id": 2}, {"from_article_id": 2, "to_article_id": 1}],
    ),
    (Article.cites.through, [{"from_article_id": 3, "to_article_id": 3}]),
    (Place, _named("square", "café", "bistro", "Da Mario")),
    (Restaurant, [{"place_ptr_id": 3, "seats": 12}, {"place_ptr_id": 4, "seats": 60}]),
    (Pizzeria, [{"restaurant_ptr_id": 4}]),
]

BEHAVIOUR: list[tuple[type[models.Model], list[Row]]] = [
    (Hidden, _named("shown", "hidden", deleted=(False, True))),
    (Stamped, [{"created": NOON, "changed": NOON, "day": date(2001, 2, 3), "shouted": "quiet"}]),
    (Listened, _named("heard")),
    (Fragile, _named("whole")),
]

SCHEMA: list[tuple[type[models.Model], list[Row]]] = [
    (
        OddNames,
        [
            {
                "value": "50% of %s and ; -- '",
                "order": 1,
                "dashed": 2,
                "accented": "é",
                "tag_id": 2,
            }
        ],
    ),
    (OddNames.tags.through, [{"oddnames_id": 1, "tag_id": 3}]),
    (Counted, [{"width": -3, "height": 4}, {"width": 2**31 - 1, "height": 1}]),
    (
        Chapter,
        [{"tag_id": 1, "title": "last", "_order": 9}, {"tag_id": 1, "title": "first", "_order": 0}],
    ),
    (
        Constrained,
        [
            {"code": "a", "serial": 1, "low": 1, "high": 1, "mail": "a@example.org"},
            {"code": "a", "serial": 2, "low": -9, "high": 9, "mail": "b@example.org"},
        ],
    ),
    (
        Defaulted,
        [
            {"number": None, "word": "", "at": NOON},
            {"number": 0, "word": "own", "at": NOON.replace(year=1950)},
        ],
    ),
    (Legacy, [{"code": "A-1", "amount": 3}, {"code": "A-2"}]),
]

ALL = [*KEYS, *RELATIONS, *BEHAVIOUR, *SCHEMA]


def fill(alias: str) -> None:
    """Insert all rows above, and comments on rows of three models."""
    with unchecked(connections[alias]):
        for model, rows in ALL:
            insert_rows(model, alias, rows)
        insert_rows(Comment, alias, _comments(alias))


def _comments(alias: str) -> list[Row]:
    targets = {"tag": "1", "uuidkey": str(MAX), "textkey": "日本"}
    types: models.QuerySet[Any, Any] = models.QuerySet(ContentType, using=alias).filter(app_label="testapp")
    return [
        {"content_type_id": key, "object_id": targets[name], "text": f"on a {name}"}
        for name, key in types.filter(model__in=targets).values_list("model", "pk").order_by("model")
    ]
