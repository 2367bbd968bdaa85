"""Measure how long a site has to stop for the last pass of a move, while a writer changes the source at a steady rate.

    python -m tests.servers -- python -m bench.follow --rows 1000000 5000000 20000000

For each number of rows, a shop is copied with `--follow`. After a while of following, the writer stops, and the last
pass is requested: `stop` is how long that takes. With `--passes`, the same is done again with `--update --follow`, and
`stop` is the median: a pass takes tenths of a second, which depend on what the writer did last. Then the writer runs
again for as long, stops, and `--update` brings the same destination up to date, as without `--follow`. At the end, both
databases are compared by SQL of their own.

What following costs the site is measured with the first shop: the median time of the writer's transactions, in turns
with and without a run that follows.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from bench.curves import draw
from bench.figures import follow as figures_of_follow
from bench.figures import save
from bench.machine import facts
from bench.rows_data import fill_shop, shop_models
from bench.rows_places import Places, own_places

# Each transaction inserts a customer and an order, changes an order, and deletes one: four rows.
TRANSACTIONS_PER_SECOND = 17
FOLLOWED_SECONDS = 20.0
COST_SECONDS = 15.0
COST_TURNS = 8

Result = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 5_000_000, 20_000_000])
    parser.add_argument("--source", default="postgresql_a")
    parser.add_argument("--dest", default="postgresql_b")
    parser.add_argument("--passes", type=int, default=1, help="last passes for each number of rows")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a chart of the stops, as SVG")
    parser.add_argument("--figures", action="store_true", help="write them where the documentation reads them")
    parser.add_argument("--write", metavar="ALIAS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        _write(options.write)
        return
    with own_places() as places:
        found = [_measure(places, options.source, options.dest, options.rows[0], options.passes)]
        cost = _cost(options.source, options.dest)
        found += [_measure(places, options.source, options.dest, rows, options.passes) for rows in options.rows[1:]]
        machine = facts((options.source, options.dest), ())
    print(json.dumps({"stops": found, "cost": cost}, indent=2) if options.json else _table(found, cost))
    if options.plot:
        curves = {way: [(one["rows"], one[way]) for one in found] for way in ("stop", "update")}
        named = {"the stop with --follow": curves["stop"], "the stop with --update": curves["update"]}
        options.plot.write_text(draw(named, "How long a site stops for its move"))
    if options.figures:
        save("follow", *figures_of_follow(found), machine)


# -- one size ---------------------------------------------------------------------------------------------------------


def _measure(places: Places, source: str, dest: str, rows: int, passes: int) -> Result:
    places.empty(source)
    places.empty(dest)
    with _without_foreign_keys(source):
        fill_shop(source, rows)
    _reset_sequences(source)
    began = time.perf_counter()
    followed = [_stop(source, dest, "--replace", dest)]
    followed += [_stop(source, dest, "--update") for _ in range(1, passes)]
    with _writing(source):
        time.sleep(FOLLOWED_SECONDS)
    updated = _finish(_start(source, dest, "--update"))
    _compare(source, dest)
    stops = ", ".join(f"{one['stop_seconds']:.2f}" for one in followed)
    print(f"{rows:,} rows: {time.perf_counter() - began:.0f} s, stops of {stops} s", file=sys.stderr)
    kinds = ("inserted", "rewritten", "deleted")
    return {
        "rows": rows,
        "stop": statistics.median(one["stop_seconds"] for one in followed),
        "stop_rows": statistics.median(one["rows_in_last_pass"] for one in followed),
        "update": updated["seconds"],
        "update_rows": sum(table[kind] for table in updated["updates"] for kind in kinds),
    }


def _stop(source: str, dest: str, *more: str) -> Result:
    """Follow a site for a while, stop it, and make the last pass."""
    with _writing(source), _following(source, dest, *more) as run:
        _wait_for_rounds(run)
        time.sleep(FOLLOWED_SECONDS)
    found: Result = _last_pass(run)["follow"]
    return found


@contextmanager
def _without_foreign_keys(alias: str) -> Iterator[None]:
    """Fill PostgreSQL's tables without their foreign keys, which would be looked up row by row."""
    from django.db import connections

    if connections[alias].vendor != "postgresql":
        yield
        return
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE contype = 'f' AND conrelid::regclass::text = ANY(%s)",
            [[model._meta.db_table for model in shop_models()]],
        )
        keys = cursor.fetchall()
        for table, name, _ in keys:
            cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        yield
        for table, name, definition in keys:
            cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
        cursor.execute("ANALYZE")


def _reset_sequences(alias: str) -> None:
    from django.core.management.color import no_style
    from django.db import connections

    with connections[alias].cursor() as cursor:
        for sql in connections[alias].ops.sequence_reset_sql(no_style(), shop_models()):
            cursor.execute(sql)
    connections[alias].close()


def _compare(source: str, dest: str) -> None:
    """Raise if a table's rows are not the same; PostgreSQL prints and sums them itself, other databases count them."""
    from django.db import connections

    for model in shop_models():
        table = model._meta.db_table
        query = f"SELECT count(*) FROM {table}"
        if {connections[alias].vendor for alias in (source, dest)} == {"postgresql"}:
            query = f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {table} t"
        found = []
        for alias in (source, dest):
            with connections[alias].cursor() as cursor:
                cursor.execute(query)
                found.append(cursor.fetchone())
            connections[alias].close()
        if found[0] != found[1]:
            raise SystemExit(f"{table} differs: {found}")


# -- runs -------------------------------------------------------------------------------------------------------------


def _start(source: str, dest: str, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "manage.py", "batch_migrate", "--source", source, "--dest", dest, *more]
    return subprocess.Popen(
        [*command, "--no-input", "--format", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _finish(run: subprocess.Popen[str]) -> dict[str, Any]:
    output, errors = run.communicate(timeout=3600)
    if run.returncode:
        raise SystemExit(errors)
    document: dict[str, Any] = json.loads(output)
    return document


@contextmanager
def _following(source: str, dest: str, *more: str) -> Iterator[subprocess.Popen[str]]:
    run = _start(source, dest, "--follow", *more)
    try:
        yield run
    except BaseException:
        run.kill()
        raise


def _wait_for_rounds(run: subprocess.Popen[str]) -> None:
    """Wait until a run has proven its copy and follows."""
    assert run.stderr is not None  # noqa: S101
    lines = []
    for line in run.stderr:
        lines.append(line)
        if "Stop everything" in line:
            return
    raise SystemExit("".join(lines))


def _last_pass(run: subprocess.Popen[str]) -> dict[str, Any]:
    run.send_signal(signal.SIGUSR1)
    return _finish(run)


# -- the site ---------------------------------------------------------------------------------------------------------


@contextmanager
def _writing(alias: str) -> Iterator[subprocess.Popen[str]]:
    """Have a process write until the end of the block; it prints the median seconds of its transactions."""
    writer = subprocess.Popen(
        [sys.executable, "-m", "bench.follow", "--write", alias], stdout=subprocess.PIPE, text=True
    )
    try:
        yield writer
    finally:
        writer.send_signal(signal.SIGTERM)
        if writer.wait():
            raise SystemExit("The writer failed.")


def _write(alias: str) -> None:
    import django

    django.setup()
    from django.db import connections, transaction

    is_over: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: is_over.append(number))
    _, customer, order, _ = shop_models()
    largest = order.objects.using(alias).latest("pk").pk
    if connections[alias].vendor == "postgresql":  # the servers of the tests do not wait for the disk, and sites do
        with connections[alias].cursor() as cursor:
            cursor.execute("SET synchronous_commit = on")
    template = customer.objects.using(alias).first()
    chosen, spent = random.Random(), []  # noqa: S311
    while not is_over:
        began = time.perf_counter()
        with transaction.atomic(using=alias):
            template.pk, template.email = None, f"{chosen.getrandbits(60)}@example.org"
            template.save(using=alias, force_insert=True)
            order.objects.using(alias).create(
                customer=template, number="new", placed=template.joined, amount=1, status="new", items=1
            )
            pks = (chosen.randrange(1, largest) for _ in range(2))
            order.objects.using(alias).filter(pk=next(pks)).update(items=chosen.randrange(100))
            order.objects.using(alias).filter(pk=next(pks)).delete()
        spent.append(time.perf_counter() - began)
        time.sleep(max(0.0, 1 / TRANSACTIONS_PER_SECOND - spent[-1]))
    print(statistics.median(spent))


def _cost(source: str, dest: str) -> Result:
    """Return the median milliseconds of the site's transactions, with and without a run that follows."""
    found: dict[str, list[float]] = {"alone": [], "followed": []}
    for way in islice(cycle(found), COST_TURNS):
        if way == "followed":
            with _following(source, dest, "--update", "--verify", "none") as run:
                _wait_for_rounds(run)
                found[way].append(_written(source))
            _last_pass(run)
        else:
            found[way].append(_written(source))
    return {way: round(1000 * statistics.median(seconds), 2) for way, seconds in found.items()}


def _written(alias: str) -> float:
    with _writing(alias) as writer:
        time.sleep(COST_SECONDS)
    assert writer.stdout is not None  # noqa: S101
    return float(writer.stdout.read())


def _table(found: list[Result], cost: Result) -> str:
    lines = ["      rows    stop, s  rows in it   --update, s  rows in it"]
    lines += [
        f"{one['rows']:>10,} {one['stop']:>10.2f} {one['stop_rows']:>11,} {one['update']:>13.2f} "
        f"{one['update_rows']:>11,}"
        for one in found
    ]
    ratio = cost["followed"] / cost["alone"]
    lines.append(
        f"The site's transactions take {cost['followed']:.2f} ms while a run follows, {cost['alone']:.2f} ms without: "
        f"{ratio:.3f} times."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
