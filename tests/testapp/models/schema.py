"""Unusual schemas: names, constraints, defaults, computed columns, unmanaged tables."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from tests.testapp.models.relations import Tag


class OddNames(models.Model):
    """Names that break SQL which is built from unquoted strings. No %: Django cannot insert there."""

    value = models.CharField("value", max_length=80, db_column="spaced out; value")
    order = models.IntegerField(db_column="order")
    dashed = models.IntegerField(db_column="dash-ed.dotted")
    accented = models.CharField(max_length=80, db_column="naïve 'quoté'")
    tag = models.ForeignKey(Tag, models.CASCADE, db_column="tag;-- drop", null=True)
    tags = models.ManyToManyField(Tag, db_table="odd tags; 'm2m'", related_name="+")

    class Meta:
        db_table = "odd-näme. with; 'quotes'"


class Counted(models.Model):
    """A stored column that the database computes."""

    width = models.IntegerField()
    height = models.IntegerField()
    area = models.GeneratedField(
        expression=F("width") * F("height"), output_field=models.BigIntegerField(), db_persist=True
    )


class Chapter(models.Model):
    """Ordered within a tag by a hidden column, ``_order``."""

    tag = models.ForeignKey(Tag, models.CASCADE)
    title = models.CharField(max_length=80)

    class Meta:
        order_with_respect_to = "tag"


class Constrained(models.Model):
    """Each kind of constraint and index."""

    code = models.CharField(max_length=30)
    serial = models.IntegerField()
    low = models.IntegerField(db_index=True)
    high = models.IntegerField()
    mail = models.EmailField(unique=True)

    class Meta:
        unique_together = (("code", "serial"),)
        constraints = (
            models.UniqueConstraint(fields=["low", "high", "code"], name="testapp_constrained_range"),
            models.CheckConstraint(condition=Q(low__lte=F("high")), name="testapp_constrained_low_high"),
        )
        indexes = (
            models.Index(fields=["-high", "low"], name="testapp_constrained_high"),
            models.Index(fields=["serial"], name="testapp_constrained_serial"),
        )


class Defaulted(models.Model):
    """The database has defaults; the rows have other values, including NULL."""

    number = models.IntegerField(db_default=7, null=True)
    word = models.CharField(max_length=30, db_default="fallback")
    at = models.DateTimeField(db_default=Now())


class Empty(models.Model):
    """Never has rows."""

    name = models.CharField(max_length=80)


class Legacy(models.Model):
    """A table that Django reads and does not manage; a migration creates it with SQL."""

    code = models.CharField(max_length=20, primary_key=True)
    amount = models.IntegerField(null=True)

    class Meta:
        managed = False
        db_table = "legacy_stock"
