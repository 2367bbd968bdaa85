"""Cycles of foreign keys, many-to-many tables, inheritance and generic relations."""

from __future__ import annotations

from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models

from tests.testapp.models.keys import UUIDKey


class TreeNode(models.Model):
    """References its own table; a parent may have the larger key."""

    name = models.CharField(max_length=80)
    parent = models.ForeignKey("self", models.CASCADE, null=True)


class Ring(models.Model):
    """References its own table with NOT NULL: the first row references itself."""

    name = models.CharField(max_length=80)
    following = models.ForeignKey("self", models.CASCADE)


class Team(models.Model):
    """Half of a cycle of two: this reference may be NULL."""

    name = models.CharField(max_length=80)
    captain = models.ForeignKey("Player", models.SET_NULL, null=True, related_name="+")


class Player(models.Model):
    """Half of a cycle of two: this reference is NOT NULL."""

    name = models.CharField(max_length=80)
    team = models.ForeignKey(Team, models.CASCADE)


class Hen(models.Model):
    """Half of a cycle in which both references are NOT NULL."""

    name = models.CharField(max_length=80)
    hatched_from = models.ForeignKey("Egg", models.CASCADE)


class Egg(models.Model):
    """The other half of the cycle in which both references are NOT NULL."""

    name = models.CharField(max_length=80)
    laid_by = models.ForeignKey(Hen, models.CASCADE)


class Rock(models.Model):
    """First of a cycle of three, in which one reference may be NULL."""

    name = models.CharField(max_length=80)
    beats = models.ForeignKey("Scissors", models.CASCADE)


class Scissors(models.Model):
    """Second of a cycle of three."""

    name = models.CharField(max_length=80)
    beats = models.ForeignKey("Paper", models.CASCADE)


class Paper(models.Model):
    """Third of a cycle of three: the reference that may be NULL."""

    name = models.CharField(max_length=80)
    beats = models.ForeignKey(Rock, models.CASCADE, null=True)


class Dangling(models.Model):
    """A foreign key without a constraint; its rows are orphans."""

    name = models.CharField(max_length=80)
    gone = models.ForeignKey(UUIDKey, models.DO_NOTHING, db_constraint=False, related_name="+")


class Tag(models.Model):
    """One end of the many-to-many tables."""

    name = models.CharField(max_length=80)


class Article(models.Model):
    """Many-to-many: Django's own through table, an explicit one, and one to itself."""

    name = models.CharField(max_length=80)
    tags = models.ManyToManyField(Tag)
    marks = models.ManyToManyField(UUIDKey)
    rated_tags = models.ManyToManyField(Tag, through="Rating", related_name="rated_articles")
    related = models.ManyToManyField("self")
    cites = models.ManyToManyField("self", symmetrical=False)


class Rating(models.Model):
    """An explicit through table with a column of its own."""

    article = models.ForeignKey(Article, models.CASCADE)
    tag = models.ForeignKey(Tag, models.CASCADE)
    stars = models.SmallIntegerField()


class Place(models.Model):
    """Top of three levels of tables."""

    name = models.CharField(max_length=80)


class Restaurant(Place):
    """Middle of three levels of tables."""

    seats = models.IntegerField()


class Pizzeria(Restaurant):
    """Bottom of three levels of tables, with no column of its own except the parent link."""


class LoudPlace(Place):
    """A proxy: a class, and no table."""

    class Meta:
        proxy = True


class Comment(models.Model):
    """References rows of any model, without a constraint."""

    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.CharField(max_length=40)
    target = GenericForeignKey("content_type", "object_id")
    text = models.TextField()
