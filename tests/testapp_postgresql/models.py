"""Fields of ``django.contrib.postgres``, which no other engine supports, without migrations."""

from __future__ import annotations

from django.contrib.postgres.fields import (
    ArrayField,
    BigIntegerRangeField,
    DateRangeField,
    DateTimeRangeField,
    DecimalRangeField,
    HStoreField,
)
from django.contrib.postgres.search import SearchVectorField
from django.db import models


class ArrayValue(models.Model):
    """Arrays of numbers, of text, and of arrays."""

    numbers = ArrayField(models.IntegerField(null=True), null=True)
    texts = ArrayField(models.CharField(max_length=40, null=True), null=True)
    table = ArrayField(ArrayField(models.TextField(), size=2), null=True)
    amounts = ArrayField(models.DecimalField(max_digits=30, decimal_places=10), null=True)
    days = ArrayField(models.DateTimeField(), null=True)


class RangeValue(models.Model):
    """Ranges: empty, unbounded, with inclusive and exclusive bounds."""

    whole = BigIntegerRangeField(null=True)
    exact = DecimalRangeField(null=True)
    days = DateRangeField(null=True)
    instants = DateTimeRangeField(null=True)


class HStoreValue(models.Model):
    """Text keys and values; a value may be NULL."""

    value = HStoreField(null=True)


class SearchVectorValue(models.Model):
    """Lexemes that an expression has computed from text, with positions and weights."""

    value = SearchVectorField(null=True)
