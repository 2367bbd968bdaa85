"""Tables that know the user, the address and the browser: django-user-sessions, django-qsessions, a project's own."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections

from migrator.clock import now
from migrator.sessions.copying.run import copy_sessions
from migrator.sessions.records import End
from migrator.sessions.reports import copy_report
from migrator.sessions.stores.table import NO_USER, SHORTENED
from migrator.stores.base import Record, digest
from tests.sessions.places import CACHE, HOUR, Place, data_of, held, new_key, opened, put

pytestmark = pytest.mark.driver

ALIASES = ["postgresql_a", "mysql_a", "sqlite_a"]
MOMENT = {"postgresql": "timestamptz", "mysql": "datetime(6)", "sqlite": "datetime"}
ADDRESS = {"postgresql": "inet", "mysql": "char(39)", "sqlite": "char(39)"}
NAMES = ("user_sessions.Session", "qsessions.Session")


def create(alias: str) -> None:
    """Create both packages' tables as their migrations do; the apps cannot be installed together."""
    moment, address = (kinds[connections[alias].vendor] for kinds in (MOMENT, ADDRESS))
    common = (
        f"session_key varchar(40) PRIMARY KEY, session_data text NOT NULL, expire_date {moment} NOT NULL,"
        f" user_id integer NULL REFERENCES auth_user (id), ip {address} NULL"
    )
    with connections[alias].cursor() as cursor:
        for table, columns in {
            "user_sessions_session": f"user_agent varchar(200) NULL, last_activity {moment} NOT NULL",
            "qsessions_session": f"user_agent varchar(300) NULL, created_at {moment} NULL,"
            f" updated_at {moment} NOT NULL",
        }.items():
            cursor.execute(f"DROP TABLE IF EXISTS {table}")
            cursor.execute(f"CREATE TABLE {table} ({common}, {columns})")


@pytest.fixture(params=ALIASES)
def tables(request: pytest.FixtureRequest, ready: Callable[..., None]) -> Iterator[str]:
    alias: str = request.param
    ready(Place("db", alias, "db"))
    create(alias)
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "INSERT INTO auth_user (id, username, password, first_name, last_name, email, is_superuser, is_staff,"
            " is_active, date_joined) VALUES (41, 'somebody', '', '', '', '', %s, %s, %s, '2020-01-01')",
            [False, False, True],
        )
    yield alias
    with connections[alias].cursor() as cursor:
        for table in ("user_sessions_session", "qsessions_session"):
            cursor.execute(f"DROP TABLE IF EXISTS {table}")


def place(alias: str, name: str) -> Any:
    """Open such a table."""

    class Named(Place):
        @property
        def end(self) -> End:
            return End("db", alias, "db", name)

    return Named("db", alias, "db")


SEEN = {"user": 41, "ip": "2001:db8::1", "user_agent": "ä" * 250, "updated": 1_700_000_000_123_456}


@pytest.mark.parametrize(("source", "dest"), [NAMES, NAMES[::-1]])
def test_keeps_who_and_where_between_packages(tables: str, source: str, dest: str) -> None:
    one, other = place(tables, source), place(tables, dest)
    more = {**SEEN, "created": 1_600_000_000_654_321}
    with opened(one) as store:
        key, moment = new_key(), now() + HOUR
        kept = {role: more[role] for role in store.roles}
        if source.startswith("user_sessions"):
            kept["user_agent"] = "ä" * 200
        payload = store.dump({"_auth_user_id": "41"}, moment, 1_700_000_000)[0]
        store.add([Record(key, payload, moment, kept)])

    result = copy_sessions(source=one.end, dest=other.end)

    found = held(other)[key]
    assert found.more is not None
    assert (found.raw, found.expires) == (payload, moment)
    assert {role: found.more[role] for role in ("user", "ip", "updated")} == {
        role: SEEN[role] for role in ("user", "ip", "updated")
    }
    assert found.more["user_agent"] == "ä" * 200
    assert dict(result.total.losses) == ({SHORTENED: 1} if source.startswith("qsessions") else {})


@pytest.mark.parametrize("dest", NAMES)
def test_fills_in_what_the_data_tells(tables: str, dest: str) -> None:
    stock, other = Place("db", tables, "db"), place(tables, dest)
    data = {"_auth_user_id": "41", "_qsessions_ip": "10.0.0.1", "_qsessions_user_agent": "Browser/1"}
    somebody, nobody = put(stock, data), put(stock, {})
    unknown = put(stock, {"_auth_user_id": "4711"})

    result = copy_sessions(source=stock.end, dest=other.end)

    rows = held(other)
    assert rows[somebody].more is not None
    assert {role: rows[somebody].more[role] for role in ("user", "ip", "user_agent")} == {  # type: ignore[index]
        "user": 41,
        "ip": "10.0.0.1",
        "user_agent": "Browser/1",
    }
    assert [rows[key].more["user"] for key in (nobody, unknown)] == [None, None]  # type: ignore[index]
    assert dict(result.total.losses) == {NO_USER: 1}
    assert (result.total.written, result.total.failures) == (3, 0)


@pytest.mark.parametrize("dest", NAMES)
def test_leaves_an_empty_address_empty_as_the_packages_do(tables: str, dest: str) -> None:
    """Behind a Unix socket there is no address, and REMOTE_ADDR is an empty text."""
    stock, other = Place("db", tables, "db"), place(tables, dest)
    nowhere = {put(stock, {"_qsessions_ip": ""}) for _ in range(3)}
    somewhere = put(stock, {"_qsessions_ip": "10.0.0.1"})
    put(other, {"_qsessions_ip": ""}, key=min(nowhere))  # so that rows are also written where some are there

    result = copy_sessions(source=stock.end, dest=other.end)

    assert (result.total.written, result.total.failures) == (3, 0)
    found = {key: (session.more or {})["ip"] for key, session in held(other).items()}
    assert found == dict.fromkeys(nowhere) | {somewhere: "10.0.0.1"}


@pytest.mark.parametrize("name", NAMES)
def test_writes_over_an_address_as_the_packages_do(tables: str, name: str) -> None:
    other = place(tables, name)
    keys = [put(other, {"_qsessions_ip": "10.0.0.1"}) for _ in range(3)]
    seen = held(other)
    pairs = [(seen[key], seen[key]._replace(more={**(seen[key].more or {}), "ip": ""})) for key in keys]

    with opened(other) as store:
        assert store.update(pairs[0][1])
        assert store.replace(pairs[:1]) == set(keys[:1])
        assert store.replace(pairs[1:]) == set(keys[1:])

    assert [session.more["ip"] for session in held(other).values()] == [None, None, None]  # type: ignore[index]
    with opened(other) as store:
        assert store.discard(list(held(other).values())) == set(keys)


@pytest.mark.parametrize("dest", NAMES)
def test_lists_sessions_whose_address_is_none(tables: str, dest: str) -> None:
    """PostgreSQL alone looks at addresses."""
    stock, other = Place("db", tables, "db"), place(tables, dest)
    good = {put(stock, {"_qsessions_ip": address}) for address in ("10.0.0.1", "2001:db8::1", "") for _ in range(9)}
    bad = {put(stock, {"_qsessions_ip": address}) for address in ("unix:", "10.0.0.1:5432", "fe80::1%eth0")}

    result = copy_sessions(source=stock.end, dest=other.end)

    if connections[tables].vendor != "postgresql":
        assert (result.total.written, result.total.failures) == (30, 0)
        return
    assert (result.total.written, result.total.unfit) == (27, 3)
    assert sorted(result.total.problems) == sorted((digest(key), "its ip is not an IP address") for key in bad)
    assert set(held(other)) == good
    assert copy_report(result).exit_code == 4


@pytest.mark.parametrize("column", ["user_agent", "ip"])
def test_lists_sessions_that_the_table_refuses_for_a_reason_of_its_own(tables: str, column: str) -> None:
    stock, other = Place("db", tables, "db"), place(tables, NAMES[1])
    if column == "ip" and connections[tables].vendor == "sqlite":
        pytest.skip("the test adds a constraint to a table, which SQLite does not")
    with connections[tables].cursor() as cursor:
        if column == "ip":
            cursor.execute("ALTER TABLE qsessions_session ADD CONSTRAINT no_robots CHECK (user_agent <> 'Robot')")
        else:
            cursor.execute("CREATE UNIQUE INDEX once ON qsessions_session (user_agent)")
    good = {put(stock, {"_qsessions_user_agent": f"Browser/{number}"}) for number in range(20)}
    bad = {put(stock, {"_qsessions_user_agent": "Robot"}) for _ in range(2 if column == "user_agent" else 1)}

    result = copy_sessions(source=stock.end, dest=other.end)

    assert (result.total.written, result.total.unfit, result.total.present) == (len(held(other)), 1, 0)
    ((key, why),) = result.total.problems
    assert key in {digest(key) for key in bad}
    assert why == "the table rejects its row (IntegrityError)"
    assert good <= set(held(other))


@pytest.mark.redis
def test_moves_them_to_a_cache_and_back_and_says_what_is_lost(tables: str, ready: Callable[..., None]) -> None:
    one, stock = place(tables, NAMES[0]), Place("db", tables, "db")
    ready(CACHE)
    key = put(one, {"_auth_user_id": "41", "a": 1})
    with connections[tables].cursor() as cursor:
        cursor.execute("UPDATE user_sessions_session SET user_id = 41")

    result = copy_sessions(source=one.end, dest=CACHE.end)
    copy_sessions(source=CACHE.end, dest=stock.end)

    assert data_of(stock) == {key: {"_auth_user_id": "41", "a": 1}}
    assert (
        "the destination does not store ip, updated, user, user_agent: "
        "pages that list or end a user's sessions need the table" in result.plan.notes
    )


def test_reads_users_by_the_type_of_their_key(tables: str) -> None:
    other = place(tables, NAMES[1])
    put(other, {"_auth_user_id": "not a number"})

    assert [session.more["user"] for session in held(other).values()] == [None]  # type: ignore[index]
