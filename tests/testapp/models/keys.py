"""Primary keys of every kind, and references to them."""

from __future__ import annotations

import uuid

from django.db import models


class SmallAutoKey(models.Model):
    """The smallest automatic key."""

    id = models.SmallAutoField(primary_key=True)
    label = models.CharField(max_length=80)


class AutoKey(models.Model):
    """An automatic key, with rows 0 and below zero."""

    id = models.AutoField(primary_key=True)
    label = models.CharField(max_length=80)


class BigAutoKey(models.Model):
    """An automatic key beyond 32 bits."""

    id = models.BigAutoField(primary_key=True)
    label = models.CharField(max_length=80)


class IntegerKey(models.Model):
    """A key without a sequence."""

    number = models.IntegerField(primary_key=True)
    label = models.CharField(max_length=80)


class UUIDKey(models.Model):
    """A key whose order differs between engines."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    label = models.CharField(max_length=80)


class UUIDDocument(models.Model):
    """A document with such a key."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    value = models.JSONField(null=True)


class TextKey(models.Model):
    """A text key: collations order and compare it differently."""

    code = models.CharField(max_length=60, primary_key=True)
    label = models.CharField(max_length=80)


class DateTimeKey(models.Model):
    """A key that is converted on its way into a WHERE clause."""

    at = models.DateTimeField(primary_key=True)
    label = models.CharField(max_length=80)


class DecimalKey(models.Model):
    """A decimal key."""

    amount = models.DecimalField(max_digits=12, decimal_places=3, primary_key=True)
    label = models.CharField(max_length=80)


class CompositeKey(models.Model):
    """A composite key of two columns, one of them text."""

    pk = models.CompositePrimaryKey("tenant", "number")
    tenant = models.CharField(max_length=30)
    number = models.IntegerField()
    label = models.CharField(max_length=80)


class CompositeLink(models.Model):
    """A composite key of foreign keys."""

    pk = models.CompositePrimaryKey("left", "right")
    left = models.ForeignKey(AutoKey, models.CASCADE, related_name="+")
    right = models.ForeignKey(UUIDKey, models.CASCADE, related_name="+")
    weight = models.FloatField()


class UniqueCode(models.Model):
    """Referenced by another column than its key."""

    code = models.CharField(max_length=30, unique=True)
    label = models.CharField(max_length=80)


class Pointer(models.Model):
    """Foreign keys to keys of every type."""

    to_auto = models.ForeignKey(AutoKey, models.CASCADE, null=True, related_name="+")
    to_big = models.ForeignKey(BigAutoKey, models.CASCADE, null=True, related_name="+")
    to_uuid = models.ForeignKey(UUIDKey, models.CASCADE, null=True, related_name="+")
    to_text = models.ForeignKey(TextKey, models.CASCADE, null=True, related_name="+")
    to_code = models.ForeignKey(UniqueCode, models.CASCADE, to_field="code", null=True, related_name="+")
    one_to_uuid = models.OneToOneField(UUIDKey, models.CASCADE, null=True, related_name="+")


class KeyIsPointer(models.Model):
    """Its key is a foreign key, to text."""

    target = models.OneToOneField(TextKey, models.CASCADE, primary_key=True, related_name="+")
    label = models.CharField(max_length=80)
