"""The Celery app of the shop, whose workers help `make demo-cluster`."""

from celery import Celery

app = Celery("demo")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
