"""One model per type of field: ``label`` names the edge value of a row, ``value`` has it."""

from __future__ import annotations

from django.db import models

from tests.testapp.fields import CommaListField, MoneyField, ReversedTextField, SecretField


class LabelledValue(models.Model):
    """The label; the value is added by each model below."""

    label = models.CharField(max_length=80, unique=True)

    class Meta:
        abstract = True


class BigIntegerValue(LabelledValue):
    """Signed 64-bit integers."""

    value = models.BigIntegerField(null=True)


class BinaryValue(LabelledValue):
    """Bytes."""

    value = models.BinaryField(null=True)


class BooleanValue(LabelledValue):
    """True, False and NULL."""

    value = models.BooleanField(null=True)


class CharValue(LabelledValue):
    """Text with a limit that tests can reach."""

    value = models.CharField(max_length=20, null=True)


class DateValue(LabelledValue):
    """Days."""

    value = models.DateField(null=True)


class DateTimeValue(LabelledValue):
    """Instants."""

    value = models.DateTimeField(null=True)


class MoneyDecimalValue(LabelledValue):
    """Few digits, two decimals."""

    value = models.DecimalField(max_digits=9, decimal_places=2, null=True)


class WholeDecimalValue(LabelledValue):
    """As many digits as SQLite stores, no decimals."""

    value = models.DecimalField(max_digits=15, decimal_places=0, null=True)


class LongDecimalValue(LabelledValue):
    """More digits than a double has."""

    value = models.DecimalField(max_digits=30, decimal_places=10, null=True)


class FractionDecimalValue(LabelledValue):
    """Decimals only: every value is below one."""

    value = models.DecimalField(max_digits=15, decimal_places=15, null=True)


class DurationValue(LabelledValue):
    """Durations: microseconds in a bigint, or an interval."""

    value = models.DurationField(null=True)


class EmailValue(LabelledValue):
    """Mail addresses."""

    value = models.EmailField(null=True)


class FileValue(LabelledValue):
    """Paths of uploaded files; the files themselves stay where they are."""

    value = models.FileField(null=True, upload_to="uploads/%Y")


class FilePathValue(LabelledValue):
    """Paths of files on the server; the directory need not exist."""

    value = models.FilePathField(path="/nowhere", null=True)


class FloatValue(LabelledValue):
    """IEEE doubles, compared bit by bit."""

    value = models.FloatField(null=True)


class IPAddressValue(LabelledValue):
    """IP addresses of both versions."""

    value = models.GenericIPAddressField(null=True)


class IPv4AddressValue(LabelledValue):
    """IPv4 addresses only."""

    value = models.GenericIPAddressField(protocol="IPv4", null=True)


class IPv6AddressValue(LabelledValue):
    """IPv6 addresses only."""

    value = models.GenericIPAddressField(protocol="IPv6", null=True)


class IntegerValue(LabelledValue):
    """Signed 32-bit integers."""

    value = models.IntegerField(null=True)


class JSONValue(LabelledValue):
    """JSON, in which null is not NULL."""

    value = models.JSONField(null=True)


class PositiveBigIntegerValue(LabelledValue):
    """64-bit integers, unsigned if the engine has such a type."""

    value = models.PositiveBigIntegerField(null=True)


class PositiveIntegerValue(LabelledValue):
    """32-bit integers, unsigned if the engine has such a type."""

    value = models.PositiveIntegerField(null=True)


class PositiveSmallIntegerValue(LabelledValue):
    """16-bit integers, unsigned if the engine has such a type."""

    value = models.PositiveSmallIntegerField(null=True)


class SlugValue(LabelledValue):
    """Slugs, of all scripts."""

    value = models.SlugField(allow_unicode=True, null=True)


class SmallIntegerValue(LabelledValue):
    """Signed 16-bit integers."""

    value = models.SmallIntegerField(null=True)


class TextValue(LabelledValue):
    """Text without a limit."""

    value = models.TextField(null=True)


class TimeValue(LabelledValue):
    """Times of day."""

    value = models.TimeField(null=True)


class URLValue(LabelledValue):
    """URLs."""

    value = models.URLField(null=True)


class UUIDValue(LabelledValue):
    """A native type on some engines, 32 characters on others."""

    value = models.UUIDField(null=True)


class ReversedTextValue(LabelledValue):
    """A custom field with both converters."""

    value = ReversedTextField(null=True)


class MoneyValue(LabelledValue):
    """A custom field with its own column type."""

    value = MoneyField(null=True)


class SecretValue(LabelledValue):
    """A custom field that never writes the same text twice."""

    value = SecretField(null=True)


class CommaListValue(LabelledValue):
    """A custom field that returns lists."""

    value = CommaListField(max_length=60, null=True)
