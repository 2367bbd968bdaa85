"""Small tables, each with a foreign key to an earlier one."""

import os

from django.db import models

_COUNT = int(os.environ.get("MIGRATOR_BENCH_TABLES", "0"))

for _number in range(_COUNT):
    _fields = {
        "name": models.CharField(max_length=40),
        "value": models.IntegerField(null=True),
        "moment": models.DateTimeField(null=True),
        "parent": models.ForeignKey(f"many.Table{_number // 2}", models.CASCADE, null=True),
    }
    type(f"Table{_number}", (models.Model,), {"__module__": __name__, **_fields})
