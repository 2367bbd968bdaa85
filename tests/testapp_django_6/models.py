"""What Django 5.2 lacks, without migrations: foreign keys that act in the database, and JSON's null as a value."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Upper


class Author(models.Model):
    """A tree in which a deleted row leaves its children without a parent."""

    name = models.CharField(max_length=40)
    boss = models.ForeignKey("self", models.DB_SET_NULL, null=True)


class Book(models.Model):
    """Rows that go with their parent, and a key of the default type, which is a BigAutoField from Django 6.0 on."""

    author = models.ForeignKey(Author, models.DB_CASCADE)
    editor = models.ForeignKey(Author, models.DB_SET_NULL, null=True, related_name="edited")
    details = models.JSONField(null=True)


class Review(models.Model):
    """A key of two columns, one of which is a foreign key."""

    pk = models.CompositePrimaryKey("book_id", "number")
    book = models.ForeignKey(Book, models.DB_CASCADE)
    number = models.IntegerField()
    text = models.CharField(max_length=40, db_default="50% \\ it's")


class Shout(models.Model):
    """A column that is computed when it is read, which PostgreSQL has from version 18 on."""

    word = models.CharField(max_length=40)
    shouted = models.GeneratedField(
        expression=Upper("word"), output_field=models.CharField(max_length=40), db_persist=False
    )

    class Meta:
        required_db_features = {"supports_virtual_generated_columns"}
