"""The task of Celery workers, which :meth:`celery.Celery.autodiscover_tasks` finds in this app."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from .databases.executors.brokers import TASK
from .databases.executors.worker import carry_out


# Acknowledged when that is done, or is not: a message that is delivered again has no second effect.
@shared_task(name=TASK, acks_late=True, ignore_result=True, max_retries=0)  # type: ignore[untyped-decorator]
def carry_out_message(message: dict[str, Any]) -> None:
    """Do what a command on another host asks for: join its run, or copy one chunk."""
    carry_out(message)
