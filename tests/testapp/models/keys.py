"""Primary keys of every kind, and what points at them."""

from __future__ import annotations

import uuid

from django.db import models


class SmallAutoKey(models.Model):
    """The smallest counted key."""

    id = models.SmallAutoField(primary_key=True)
    label = models.CharField(max_length=80)


class AutoKey(models.Model):
    """A counted key: rows 0 and below zero exist too."""

    id = models.AutoField(primary_key=True)
    label = models.CharField(max_length=80)


class BigAutoKey(models.Model):
    """A counted key that has passed what 32 bits hold."""

    id = models.BigAutoField(primary_key=True)
    label = models.CharField(max_length=80)


class IntegerKey(models.Model):
    """A key that nothing counts."""

    number = models.IntegerField(primary_key=True)
    label = models.CharField(max_length=80)


class UUIDKey(models.Model):
    """A key whose order differs between engines."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    label = models.CharField(max_length=80)


class UUIDDocument(models.Model):
    """A document under such a key."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    value = models.JSONField(null=True)


class TextKey(models.Model):
    """A key of text: collations order and compare it differently."""

    code = models.CharField(max_length=60, primary_key=True)
    label = models.CharField(max_length=80)


class DateTimeKey(models.Model):
    """A key that goes through converters on its way into a WHERE clause."""

    at = models.DateTimeField(primary_key=True)
    label = models.CharField(max_length=80)


class DecimalKey(models.Model):
    """A key of decimals."""

    amount = models.DecimalField(max_digits=12, decimal_places=3, primary_key=True)
    label = models.CharField(max_length=80)


class CompositeKey(models.Model):
    """Two columns make the key, and one of them is text."""

    pk = models.CompositePrimaryKey("tenant", "number")
    tenant = models.CharField(max_length=30)
    number = models.IntegerField()
    label = models.CharField(max_length=80)


class CompositeLink(models.Model):
    """A composite key that is made of foreign keys."""

    pk = models.CompositePrimaryKey("left", "right")
    left = models.ForeignKey(AutoKey, models.CASCADE, related_name="+")
    right = models.ForeignKey(UUIDKey, models.CASCADE, related_name="+")
    weight = models.FloatField()


class UniqueCode(models.Model):
    """Something to be pointed at by another column than its key."""

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
    """The key is itself a foreign key, to text."""

    target = models.OneToOneField(TextKey, models.CASCADE, primary_key=True, related_name="+")
    label = models.CharField(max_length=80)
