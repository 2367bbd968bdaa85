from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    """Create the table that Django does not manage."""

    dependencies = (("testapp", "0001_models"),)

    operations = (
        migrations.RunSQL(
            "CREATE TABLE legacy_stock (code varchar(20) NOT NULL PRIMARY KEY, amount integer)",
            "DROP TABLE legacy_stock",
        ),
    )
