"""Customers with twelve columns of mixed types, their orders and labels; and tables of other shapes."""

import uuid
from typing import Any

from django.db import models


class Label(models.Model):
    name = models.CharField(max_length=40, unique=True)


class Customer(models.Model):
    name = models.CharField(max_length=100)
    email = models.EmailField(unique=True)
    code = models.UUIDField()
    is_active = models.BooleanField()
    age = models.SmallIntegerField(null=True)
    balance = models.DecimalField(max_digits=12, decimal_places=2)
    score = models.FloatField()
    joined = models.DateTimeField(db_index=True)
    born = models.DateField(null=True)
    notes = models.TextField()
    extra = models.JSONField()
    labels = models.ManyToManyField(Label)


class Order(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE)
    number = models.CharField(max_length=20)
    placed = models.DateTimeField(db_index=True)
    amount = models.DecimalField(max_digits=10, decimal_places=2)
    status = models.CharField(max_length=12, db_index=True)
    items = models.IntegerField()


# -- other shapes ---------------------------------------------------------------------------------------------------


class _Wide(models.Model):
    class Meta:
        abstract = True


_columns: dict[str, Any] = {"__module__": __name__}
for _number in range(20):
    _columns[f"text_{_number}"] = models.CharField(max_length=50)
    _columns[f"number_{_number}"] = models.IntegerField(null=True)
    _columns[f"moment_{_number}"] = models.DateTimeField(null=True)
Wide = type("Wide", (_Wide,), _columns)


class Document(models.Model):
    text = models.TextField()


class Event(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=50)


class Sparse(models.Model):
    """Keys with huge gaps."""

    name = models.CharField(max_length=50)
