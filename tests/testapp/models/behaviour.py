"""Models whose Python code breaks copies through instances and managers."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import signals
from django.dispatch import receiver

from tests.testapp.fields import ShoutingField


class VisibleManager(models.Manager["Hidden"]):
    """Hides rows that are marked as deleted."""

    def get_queryset(self) -> models.QuerySet[Hidden]:
        return super().get_queryset().filter(deleted=False)


class Hidden(models.Model):
    """``objects`` and even the base manager hide rows."""

    name = models.CharField(max_length=80)
    deleted = models.BooleanField(default=False)

    objects = VisibleManager()

    class Meta:
        base_manager_name = "objects"


class Stamped(models.Model):
    """Saving would overwrite all three values."""

    created = models.DateTimeField(auto_now_add=True)
    changed = models.DateTimeField(auto_now=True)
    day = models.DateField(auto_now=True)
    shouted = ShoutingField(max_length=80)


class Listened(models.Model):
    """Every signal of this model has a receiver that raises."""

    name = models.CharField(max_length=80)


@receiver(
    [
        signals.pre_init,
        signals.post_init,
        signals.pre_save,
        signals.post_save,
        signals.pre_delete,
        signals.post_delete,
    ],
    sender=Listened,
    dispatch_uid="testapp.listened",
)
def fail_when_sent(**kwargs: Any) -> None:
    """Fail if rows are moved in a way that sends signals."""
    raise AssertionError("a signal of testapp.Listened was sent")


class Fragile(models.Model):
    """No instance can be created, from the database or otherwise, unless a test allows it."""

    instances_allowed: ClassVar[bool] = False

    name = models.CharField(max_length=80)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.instances_allowed:
            raise AssertionError("an instance of testapp.Fragile was created")
        super().__init__(*args, **kwargs)

    @classmethod
    def from_db(cls, db: str | None, field_names: Any, values: Any) -> Self:
        if not cls.instances_allowed:
            raise AssertionError("an instance of testapp.Fragile was read from the database")
        return super().from_db(db, field_names, values)


class SwappedUser(models.Model):
    """Swapped out for the project's user model, so it has no table."""

    name = models.CharField(max_length=80)

    class Meta:
        swappable = "AUTH_USER_MODEL"
