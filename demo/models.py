"""The shop's tables. Each has a feature that breaks when rows are copied as model instances."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower


class Person(models.Model):
    """A person known to the shop; those who buy have a row in :class:`Customer`, too."""

    name = models.CharField(max_length=120)
    email = models.EmailField()
    birthday = models.DateField(null=True, blank=True)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(Lower("email"), name="demo_person_email_once")]
        indexes = [models.Index(fields=["name"])]

    def __str__(self) -> str:
        return self.name


class Customer(Person):
    """Multi-table inheritance: a second table with a link to its parent's row, and a foreign key to itself."""

    number = models.CharField(max_length=12, unique=True)
    credit = models.DecimalField(max_digits=9, decimal_places=2, default=0)
    newsletter = models.BooleanField(default=False)
    recommended_by = models.ForeignKey("self", models.SET_NULL, null=True, blank=True)


class NewsletterReader(Customer):
    """A proxy: a model without a table."""

    class Meta:
        proxy = True
        ordering = ["name"]


class Tag(models.Model):
    """Its primary key is a text."""

    code = models.SlugField(primary_key=True, max_length=30)
    title = models.CharField(max_length=60)

    def __str__(self) -> str:
        return self.title


class Category(models.Model):
    """A tree in which children have smaller ids than parents, and half of a cycle with :class:`Product`."""

    parent = models.ForeignKey("self", models.CASCADE, null=True, blank=True, related_name="children")
    showcase = models.ForeignKey("Product", models.SET_NULL, null=True, blank=True, related_name="+")
    name = models.CharField(max_length=60)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["parent", "name"], name="demo_category_name_once")]
        verbose_name_plural = "categories"

    def __str__(self) -> str:
        return self.name


class CurrentProducts(models.Manager["Product"]):
    """Hides archived products."""

    def get_queryset(self) -> models.QuerySet[Product]:
        return super().get_queryset().filter(archived=False)


class Product(models.Model):
    """Its only manager hides archived rows; one column has a name that needs quotes."""

    category = models.ForeignKey(Category, models.PROTECT, related_name="products")
    tags = models.ManyToManyField(Tag, blank=True)
    sku = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=120)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    weight = models.FloatField(null=True, blank=True)
    origin = models.CharField(max_length=2, db_column="Country of origin")
    barcode_image = models.BinaryField(null=True, blank=True)
    archived = models.BooleanField(default=False)
    created = models.DateTimeField(auto_now_add=True)
    changed = models.DateTimeField(auto_now=True)

    objects = CurrentProducts()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(price__gte=0), name="demo_product_price_not_negative")]
        indexes = [models.Index(fields=["name"])]

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    """Its table's name is a keyword of SQL."""

    class Status(models.TextChoices):
        OPEN = "open"
        CANCELLED = "cancelled"
        PAID = "paid"
        SHIPPED = "shipped"

    reference = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    customer = models.ForeignKey(Customer, models.PROTECT, related_name="orders")
    handled_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True)
    products = models.ManyToManyField(Product, through="OrderLine")
    status = models.CharField(max_length=10, choices=Status, default=Status.OPEN)
    total = models.DecimalField(max_digits=10, decimal_places=2, default=0)
    details = models.JSONField(default=dict, blank=True)
    placed = models.DateTimeField()
    deliver_after = models.TimeField(null=True, blank=True)
    changed = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "order"
        indexes = [
            models.Index(fields=["customer", "-placed"], name="demo_order_by_customer"),
            models.Index(fields=["placed"], name="demo_order_open", condition=Q(status="open")),
        ]

    def __str__(self) -> str:
        return f"{self.pk} ({self.status})"


class OrderLine(models.Model):
    """The explicit through table between orders and products."""

    order = models.ForeignKey(Order, models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, models.PROTECT)
    quantity = models.PositiveSmallIntegerField(default=1)
    unit_price = models.DecimalField(max_digits=8, decimal_places=2)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["order", "product"], name="demo_line_product_once"),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="demo_line_quantity_above_zero"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} x {self.product_id}"


class Invoice(models.Model):
    """Its primary key is a foreign key; the database has the file's path, not the file."""

    order = models.OneToOneField(Order, models.PROTECT, primary_key=True)
    number = models.CharField(max_length=16, unique=True)
    issued = models.DateField()
    paid = models.DateTimeField(null=True, blank=True)
    document = models.FileField(upload_to="invoices/%Y/%m", blank=True)

    class Meta:
        ordering = [F("issued").desc()]

    def __str__(self) -> str:
        return self.number


class Parcel(models.Model):
    """Its primary key is a UUID, and its table's name has capitals and a space."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    order = models.ForeignKey(Order, models.CASCADE, related_name="parcels")
    sent = models.DateTimeField()
    travel_time = models.DurationField(null=True, blank=True)

    class Meta:
        db_table = "Parcels sent"

    def __str__(self) -> str:
        return str(self.pk)


class Note(models.Model):
    """A note on any row of any table, by content type id."""

    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.PositiveBigIntegerField()
    about = GenericForeignKey()
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True)
    text = models.TextField()
    written = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["content_type", "object_id"])]

    def __str__(self) -> str:
        return self.text[:40]
