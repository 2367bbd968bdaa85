"""Settings of `bench.rows`: the servers of the tests, and a small shop for slow methods.

`mysql_inserts` is `mysql_b` by another name, without `local_infile`.
"""

from settings.base import INSTALLED_APPS as BASE_APPS
from settings.test import *  # noqa: F403
from settings.test import DATABASES, RUN

INSTALLED_APPS = [*BASE_APPS, "bench.shop", "bench.many"]

for _engine in ("sqlite", "postgresql", "mysql"):
    if _given := DATABASES.get(f"{_engine}_a"):
        _name = str(_given["NAME"])
        _small = _name.replace("sqlite_a", "sqlite_small") if _engine == "sqlite" else f"migrator_test_{RUN}_small"
        DATABASES[f"{_engine}_small"] = _given | {"NAME": _small}
if _given := DATABASES.get("mysql_b"):
    DATABASES["mysql_inserts"] = _given
    DATABASES["mysql_b"] = _given | {"OPTIONS": _given["OPTIONS"] | {"local_infile": True}}
# Of `bench.forecast`, in everything but their names like the destinations.
for _engine in ("sqlite", "postgresql", "mysql"):
    if _given := DATABASES.get(f"{_engine}_b"):
        _name = str(_given["NAME"])
        _scratch = (
            _name.replace("sqlite_b", "sqlite_scratch") if _engine == "sqlite" else f"migrator_test_{RUN}_scratch"
        )
        DATABASES[f"{_engine}_scratch"] = _given | {"NAME": _scratch}
