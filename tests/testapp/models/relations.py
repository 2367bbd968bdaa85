"""Foreign keys in circles, many-to-many tables, inheritance and generic relations."""

from __future__ import annotations

from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models

from .keys import UUIDKey


class TreeNode(models.Model):
    """Points at its own table; the parent may have the higher key."""

    name = models.CharField(max_length=80)
    parent = models.ForeignKey("self", models.CASCADE, null=True)


class Ring(models.Model):
    """Points at its own table and may not be NULL: the first row points at itself."""

    name = models.CharField(max_length=80)
    following = models.ForeignKey("self", models.CASCADE)


class Team(models.Model):
    """Half of a circle of two: this edge may be NULL."""

    name = models.CharField(max_length=80)
    captain = models.ForeignKey("Player", models.SET_NULL, null=True, related_name="+")


class Player(models.Model):
    """Half of a circle of two: this edge may not be NULL."""

    name = models.CharField(max_length=80)
    team = models.ForeignKey(Team, models.CASCADE)


class Hen(models.Model):
    """Half of a circle in which neither edge may be NULL."""

    name = models.CharField(max_length=80)
    hatched_from = models.ForeignKey("Egg", models.CASCADE)


class Egg(models.Model):
    """The other half of the circle in which neither edge may be NULL."""

    name = models.CharField(max_length=80)
    laid_by = models.ForeignKey(Hen, models.CASCADE)


class Rock(models.Model):
    """First of a circle of three, with one edge that may be NULL."""

    name = models.CharField(max_length=80)
    beats = models.ForeignKey("Scissors", models.CASCADE)


class Scissors(models.Model):
    """Second of a circle of three."""

    name = models.CharField(max_length=80)
    beats = models.ForeignKey("Paper", models.CASCADE)


class Paper(models.Model):
    """Third of a circle of three: the edge that may be NULL."""

    name = models.CharField(max_length=80)
    beats = models.ForeignKey(Rock, models.CASCADE, null=True)


class Dangling(models.Model):
    """A foreign key that the database does not check, pointing at nothing."""

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
    """Bottom of three levels of tables, without a column of its own but the link."""


class LoudPlace(Place):
    """A proxy: a class, and no table."""

    class Meta:
        proxy = True


class Comment(models.Model):
    """Points at rows of any model, unchecked."""

    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.CharField(max_length=40)
    target = GenericForeignKey("content_type", "object_id")
    text = models.TextField()
