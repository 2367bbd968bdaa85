"""The values that have gone wrong for somebody, by type of field, and each engine's answer to them.

Whatever is said of an engine here was measured: the value was written and read through Django's own fields.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from math import inf, nan
from typing import TYPE_CHECKING, Any

from tests.databases.snapshots import JSON_NULL
from tests.testapp import models

if TYPE_CHECKING:
    from django.db.models import Model

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Edge:
    """One value, with the reasons of the engines that cannot hold it.

    ``rewritten_by`` has what an engine returns in the value's place where both are the same to that type: an
    address in another notation, a number of JSON in plain digits. Of
    the engine `mysql`, `mysql_itself` is MySQL and `mariadb` is MariaDB with the type uuid.
    """

    name: str
    value: Any
    refused_by: Mapping[str, str] = field(default_factory=dict)
    rewritten_by: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def edge(name: str, value: Any, **refused_by: str) -> Edge:
    """Describe a value, and why which engine cannot hold it."""
    return Edge(name, value, refused_by)


def rewritten(name: str, value: Any, **rewritten_by: Any) -> Edge:
    """Describe a value, and what which engine makes of it."""
    return Edge(name, value, rewritten_by=rewritten_by)


def _named(*values: Any) -> list[Edge]:
    return [Edge("null" if value is None else str(value), value) for value in values]


OVERLONG = "the column is varchar(20)"
NO_NUL = "text cannot hold the character NUL"
HALF_A_CHARACTER = "half of a surrogate pair is no character"
NULL = Edge("null", None)

TEXTS: Sequence[Edge] = (
    NULL,
    edge("empty", ""),
    edge("space", " "),
    edge("spaces-around", "  both ends  "),
    edge("trailing-tab", "tab\t"),
    edge("quotes", "'single' \"double\" `back`"),
    edge("doubled-quotes", "''\"\""),
    edge("backslashes", "\\ \\\\ \\' \\0"),
    edge("backslash-last", "ends in \\"),
    edge("copy-null", "\\N"),
    edge("copy-end", "\\."),
    edge("copy-end-line", "a\n\\.\nb"),
    edge("word-null", "NULL"),
    edge("tabs-and-lines", "a\tb\nc"),
    edge("crlf", "a\r\nb"),
    edge("lone-cr", "a\rb"),
    edge("percents", "100% %s %(name)s %%"),
    edge("braces", "{0} {} $1 :name ?"),
    edge("commas", "a,b;c|d"),
    edge("digits", "0012"),
    edge("emoji", "😀👩\u200d👩\u200d👧🇩🇪"),
    edge("precomposed", "é"),
    edge("combining", "e\u0301"),
    edge("sharp-s", "Straße"),
    edge("dotless-i", "ıİ"),
    edge("right-to-left", "שלום مرحبا"),
    edge("cjk", "日本語 漢字"),
    edge("astral-letters", "𝔘𝔫𝔦"),
    edge("bom", "\ufefftext"),
    edge("non-characters", "\uffff\ufffe\ufdd0\U0010ffff"),
    edge("private-use", "\U000f0000"),
    edge("replacement", "�"),
    edge("delete", "\x7f"),
    edge("next-line", "a\x85b"),
    edge("c1-controls", "\x80\x9f"),
    edge("line-separators", "a\u2028b\u2029c"),
    edge("no-break-space", " "),
    edge("zero-width", "\u200b\u200d\u2060"),
    edge("bidi-controls", "\u202eabc\u2066"),
    *(edge(f"control-{code:02x}", f"a{chr(code)}b") for code in range(1, 0x20)),
    edge("nul", "a\0b", postgresql=NO_NUL),
    edge("nul-alone", "\0", postgresql=NO_NUL),
    edge("nul-before-others", "a\0b\tc\nd\\", postgresql=NO_NUL),
    edge("looks-like-blob", "\\x00ff"),
    edge("looks-like-json", '{"a": null}'),
)

LONG_TEXTS: Sequence[Edge] = (
    edge("mebibyte", "x" * MEBIBYTE),
    # More than any of the drivers' buffers; they escape such characters one by one, which takes long.
    edge("256-kibibytes-of-emoji", "😀" * (MEBIBYTE // 16)),
    edge("256-kibibytes-of-quotes", "'\\\n\t" * (MEBIBYTE // 16)),
)

NO_BEYOND_32 = "the column has 32 bits with a sign"
NO_BEYOND_16 = "the column has 16 bits with a sign"
NO_SIGN = "the column is unsigned"
NO_BEYOND_64 = "the column has 64 bits with a sign"
NO_INFINITIES = "a double is a number there, and finite"
NO_LONG_SPAN = "a span is a 64-bit count of microseconds"
NO_HIGH_VERSION = "the type uuid takes no such version with such a variant"
FIFTEEN_DIGITS = "keeps 15 significant digits of a decimal"


def _whole_numbers(*values: int) -> list[Edge]:
    return [NULL, *(edge(str(value), value) for value in values)]


INTEGERS: Mapping[type[Model], Sequence[Edge]] = {
    models.SmallIntegerValue: (
        *_whole_numbers(-(2**15), -1, 0, 1, 2**15 - 1),
        edge("beyond", 2**15, postgresql=NO_BEYOND_16, mysql=NO_BEYOND_16),
        edge("below", -(2**15) - 1, postgresql=NO_BEYOND_16, mysql=NO_BEYOND_16),
    ),
    models.IntegerValue: (
        *_whole_numbers(-(2**31), -1, 0, 1, 2**31 - 1),
        edge("beyond", 2**31, postgresql=NO_BEYOND_32, mysql=NO_BEYOND_32),
        edge("below", -(2**31) - 1, postgresql=NO_BEYOND_32, mysql=NO_BEYOND_32),
        edge("64-bits", 2**63 - 1, postgresql=NO_BEYOND_32, mysql=NO_BEYOND_32),
    ),
    models.BigIntegerValue: _whole_numbers(-(2**63), -(2**53) - 1, -1, 0, 1, 2**31, 2**53 + 1, 2**63 - 1),
    models.PositiveSmallIntegerValue: (
        *_whole_numbers(0, 1, 2**15 - 1),
        edge("16-bits", 2**16 - 1, postgresql=NO_BEYOND_16),
        edge("17-bits", 2**16, postgresql=NO_BEYOND_16, mysql="the column has 16 bits"),
    ),
    models.PositiveIntegerValue: (
        *_whole_numbers(0, 1, 2**31 - 1),
        edge("beyond", 2**31, postgresql=NO_BEYOND_32),
        edge("32-bits", 2**32 - 1, postgresql=NO_BEYOND_32),
        edge("33-bits", 2**32, postgresql=NO_BEYOND_32, mysql="the column has 32 bits"),
    ),
    models.PositiveBigIntegerValue: (
        *_whole_numbers(0, 1, 2**53 + 1, 2**63 - 1),
        edge("64-bits", 2**64 - 1, postgresql=NO_BEYOND_64, sqlite=NO_BEYOND_64),
    ),
}

NUMBERS: Mapping[type[Model], Sequence[Edge]] = {
    models.BooleanValue: _named(None, True, False),
    models.FloatValue: (
        *_named(None, 0.0, 1.0, -1.5, 0.1, 1 / 3, 1e15, 1e16, 1e22, 1e23, 1e-5, 123456789.123456789),
        edge("0.1+0.2", 0.1 + 0.2),
        edge("largest", 1.7976931348623157e308),
        edge("lowest", -1.7976931348623157e308),
        edge("smallest-normal", 2.2250738585072014e-308),
        edge("denormal", 2.225073858507201e-308),
        edge("smallest", 5e-324),
        edge("beyond-integers", 2.0**53 + 2),
        edge("nan", nan, sqlite="stores NULL instead", mysql=NO_INFINITIES),
        edge("infinity", inf, mysql=NO_INFINITIES),
        edge("negative-infinity", -inf, mysql=NO_INFINITIES),
    ),
    models.MoneyDecimalValue: _named(
        None, *map(Decimal, ("0.00", "0.01", "-0.01", "1.10", "1.50", "100.00", "9999999.99", "-9999999.99"))
    ),
    models.WholeDecimalValue: _named(
        None, *map(Decimal, ("0", "1", "-1", "100000000000000", "999999999999999", "-999999999999999"))
    ),
    models.FractionDecimalValue: _named(
        None,
        *map(Decimal, ("0.000000000000000", "0.000000000000001", "0.123456789012345", "-0.999999999999999")),
    ),
    models.LongDecimalValue: (
        *_named(None, *map(Decimal, ("0.0000000000", "0.1000000000", "0.0000000001", "-12345.6789000000"))),
        edge("15-digits", Decimal("12345.6789012345")),
        edge("16-digits", Decimal("123456.7890123456"), sqlite=FIFTEEN_DIGITS),
        edge("17-digits", Decimal("1234567.8901234567"), sqlite=FIFTEEN_DIGITS),
        edge("30-digits", Decimal("12345678901234567890.0123456789"), sqlite=FIFTEEN_DIGITS),
        edge("largest", Decimal("99999999999999999999.9999999999"), sqlite=FIFTEEN_DIGITS),
        edge("round-20-digits", Decimal("10000000000000000000.0000000000")),
        edge("lowest", Decimal("-99999999999999999999.9999999999"), sqlite=FIFTEEN_DIGITS),
    ),
    models.MoneyValue: _named(None, *map(Decimal, ("0.00", "-0.01", "10.10", "9999999999.99"))),
}

TIMES: Mapping[type[Model], Sequence[Edge]] = {
    models.DateValue: _named(
        None,
        *map(date.fromisoformat, ("0001-01-01", "0999-12-31", "1582-10-10", "1969-12-31", "2024-02-29")),
        date.max,
    ),
    models.TimeValue: _named(None, time(0), time(0, 0, 0, 1), time(12, 30), time(23, 59, 59), time(23, 59, 59, 999999)),
    models.DateTimeValue: (
        *_named(None),
        edge("year-1", datetime(1, 1, 1, tzinfo=UTC)),
        edge("year-9999", datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        edge("before-1970", datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        edge("local-mean-time", datetime(1890, 5, 5, 12, 0, 0, tzinfo=UTC)),
        edge("beyond-2038", datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC)),
        edge("microsecond", datetime(2026, 1, 2, 3, 4, 5, 1, tzinfo=UTC)),
        edge("hundred-milliseconds", datetime(2026, 1, 2, 3, 4, 5, 100000, tzinfo=UTC)),
        edge("midnight", datetime(2026, 1, 2, tzinfo=UTC)),
        edge("first-half-past-two", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        edge("second-half-past-two", datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),
        edge("summer-begins", datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),
        edge("hour-left-out", datetime(2026, 3, 29, 2, 30, tzinfo=UTC)),
    ),
    models.DurationValue: (
        NULL,
        edge("zero", timedelta(0)),
        edge("microsecond", timedelta(microseconds=1)),
        edge("negative-microsecond", timedelta(microseconds=-1)),
        edge("negative-second", timedelta(seconds=-1)),
        edge("mixed-signs", timedelta(days=-1, hours=1, microseconds=1)),
        edge("day", timedelta(days=1)),
        edge("24-hours-1", timedelta(hours=25)),
        edge("month-and-more", timedelta(days=31, hours=5, microseconds=999999)),
        edge("long", timedelta(days=3_000_000, seconds=86399, microseconds=999999)),
        edge("most-bigint", timedelta(microseconds=2**63 - 1)),
        edge("least-bigint", timedelta(microseconds=-(2**63))),
        edge("beyond-bigint", timedelta(microseconds=2**63), sqlite=NO_LONG_SPAN, mysql=NO_LONG_SPAN),
        edge("longest", timedelta.max, sqlite=NO_LONG_SPAN, mysql=NO_LONG_SPAN),
        edge("longest-negative", timedelta.min, sqlite=NO_LONG_SPAN, mysql=NO_LONG_SPAN),
    ),
}


def _nested(depth: int) -> Any:
    value: Any = "core"
    for _ in range(depth):
        value = [value]
    return value


JSON_VALUES: Sequence[Edge] = (
    NULL,
    edge("json-null", JSON_NULL),
    edge("null-inside", {"a": None, "b": [None]}),
    edge("true", True),
    edge("false", False),
    edge("zero", 0),
    edge("one", 1),
    edge("float-one", 1.0),
    edge("string", "text"),
    edge("empty-string", ""),
    edge("empty-object", {}),
    edge("empty-array", []),
    edge("string-of-json", '{"a": 1}'),
    edge("string-null", "null"),
    edge("nested", {"a": [1, 2.5, "x", {"b": {"c": [True, False, None, []]}}], "z": {}}),
    edge("deep", _nested(30)),
    edge("deeper", _nested(101), mysql="nests at most 32 levels in MariaDB, and 100 in MySQL"),
    edge("32-bits", 2**32),
    edge("64-bits", 2**64 - 1),
    edge("beyond-53-bits", -(2**53) - 1),
    rewritten("40-digits", 10**40 + 1, mysql_itself=1e40),
    edge("0.1", 0.1),
    edge("0.1+0.2", 0.1 + 0.2),
    # MySQL returns it with an exponent, which PostgreSQL stores as plain digits.
    rewritten("1e15", 1e15, mysql_itself=1e15),
    rewritten("1e16", 1e16, postgresql=10**16),
    rewritten("1e23", 1e23, postgresql=10**23),
    edge("1e-7", 1e-7),
    rewritten("largest-float", 1.7976931348623157e308, postgresql=17976931348623157 * 10**292),
    edge("smallest-float", 5e-324),
    rewritten("negative-zero", -0.0, postgresql=0.0),
    edge("unicode-keys", {"ключ": 1, "😀": 2, "\u00e9": 3, "e\u0301": 4}),
    edge("empty-key", {"": 1}),
    edge("odd-keys", {"a b": 1, "a.b": 2, "$": 3, "'": 4, '"': 5, "\\": 6, "\n": 7, "%s": 8, "?": 9}),
    edge("order-of-keys", {"b": 1, "a": 2, "aa": 3, "B": 4}),
    edge("text-of-everything", "' \" \\ / \b \f \n \r \t \x7f \x85 \u2028 € 😀 \uffff %s"),
    edge("control-characters", "".join(map(chr, range(1, 0x20)))),
    edge("nul", "a\0b", postgresql=NO_NUL),
    edge("nul-in-key", {"a\0b": 1}, postgresql=NO_NUL),
    edge("nul-inside", {"a": [{"b": "\0"}]}, postgresql=NO_NUL),
    edge("escaped-nul", "a\\u0000b"),
    edge("lone-surrogate", "\ud800", postgresql=HALF_A_CHARACTER, mysql=HALF_A_CHARACTER),
    edge("long", {"key": "x" * MEBIBYTE}),
    edge("many-members", {f"key {number}": number for number in range(1000)}),
)

ADDRESSES: Sequence[Edge] = (
    NULL,
    *_named("0.0.0.0", "127.0.0.1", "255.255.255.255", "10.0.0.1"),  # noqa: S104
)
LONG_ADDRESSES: Sequence[Edge] = (
    NULL,
    *_named("::", "::1", "2001:db8::1", "2001:db8:0:1::", "fe80::1", "::ffff:192.0.2.1", "64:ff9b::c000:201"),
    rewritten("ipv4-compatible", "::c000:201", postgresql="::192.0.2.1"),
    edge("every-group", "1111:2222:3333:4444:5555:6666:7777:8888"),
    edge("all-bits", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    edge("one-zero-group", "1:0:3:4:5:6:7:8"),
)

BYTES: Sequence[Edge] = (
    NULL,
    edge("empty", b""),
    edge("nul", b"\0"),
    edge("every-byte", bytes(range(256))),
    edge("every-byte-backwards", bytes(range(255, -1, -1))),
    edge("invalid-utf-8", b"\xff\xfe\x80"),
    edge("text", "naïve".encode()),
    edge("hex-escape", b"\\x4142"),
    edge("octal-escape", b"\\000\\134"),
    edge("quotes", b"'\"`\\"),
    edge("copy-null", b"\\N"),
    edge("lines", b"\n\r\n\t"),
    edge("percents", b"%s %%"),
    edge("mebibyte", random.Random(7).randbytes(MEBIBYTE)),  # noqa: S311
)

TEXT_LIKE: Mapping[type[Model], Sequence[Edge]] = {
    models.TextValue: (*TEXTS, *LONG_TEXTS),
    models.ReversedTextValue: (*TEXTS, *LONG_TEXTS),
    models.SecretValue: tuple(replace(item, refused_by={}) for item in (*TEXTS, *LONG_TEXTS)),
    models.CharValue: (
        *(item for item in TEXTS if len(item.value or "") <= 20),
        edge("full-ascii", "x" * 20),
        edge("full-emoji", "😀" * 20),
        edge("full-combining", "e\u0301" * 10),
        edge("full-spaces", " " * 20),
        edge("ends-in-spaces", "x" * 10 + " " * 10),
        edge("overlong", "x" * 21, postgresql=OVERLONG, mysql=OVERLONG),
        edge("overlong-emoji", "😀" * 21, postgresql=OVERLONG, mysql=OVERLONG),
        edge("overlong-spaces", "x" + " " * 20, postgresql=OVERLONG, mysql=OVERLONG),
    ),
    models.SlugValue: _named(None, "", "plain-slug_1", "ünïcode-日本", "-" * 50),
    models.EmailValue: (
        *_named(None, "", "a@example.org", "Ünï+tag'quoted@exämple.org"),
        edge("longest", "x" * 242 + "@example.org"),
    ),
    models.URLValue: _named(None, "", "https://example.org/a%20b?c=%C3%A9&d='1'#f", "https://exämple.org/é"),
    models.FileValue: _named(None, "", "uploads/2026/a file (1).txt", "uploads/%Y/é😀.txt", "..\\up"),
    models.FilePathValue: _named(None, "", "/nowhere/a file.txt", "C:\\dir\\new"),
    models.CommaListValue: _named(None, [], ["one"], ["a", "b"], ["", ""], ["é", "'", "\\"]),
}

OTHERS: Mapping[type[Model], Sequence[Edge]] = {
    models.BinaryValue: BYTES,
    models.JSONValue: JSON_VALUES,
    models.IPAddressValue: (*ADDRESSES, *LONG_ADDRESSES[1:]),
    models.IPv4AddressValue: ADDRESSES,
    models.IPv6AddressValue: LONG_ADDRESSES,
    models.UUIDValue: (
        NULL,
        edge("nil", uuid.UUID(int=0)),
        edge("max", uuid.UUID(int=2**128 - 1)),
        edge("v1", uuid.UUID("f81d4fae-7dec-11d0-a765-00a0c91e6bf6")),
        edge("v4", uuid.UUID("16fd2706-8baf-433b-82eb-8c7fada847da")),
        edge("v7", uuid.UUID("01890a5d-ac96-774b-bcce-b302099a8057")),
        edge("leading-zeros", uuid.UUID(int=1)),
        edge("v7-first", uuid.UUID("00000000-0000-7fff-8000-000000000000")),
        edge("v7-of-another-variant", uuid.UUID("ffffffff-ffff-7fff-7fff-ffffffffffff")),
        edge("v8", uuid.UUID("ffffffff-ffff-8fff-8100-ffffffffffff")),
        edge("v8-first", uuid.UUID("00000000-0000-8000-8000-000000000000"), mariadb=NO_HIGH_VERSION),
        edge("v8-of-variant-0", uuid.UUID("00000000-0000-8000-00ff-ffffffffffff")),
        edge("v8-of-variant-01", uuid.UUID("00000000-0000-8000-0100-000000000000"), mariadb=NO_HIGH_VERSION),
        edge("v15-of-variant-7f", uuid.UUID("ffffffff-ffff-ffff-7fff-ffffffffffff"), mariadb=NO_HIGH_VERSION),
    ),
}

EDGES: Mapping[type[Model], Sequence[Edge]] = {**TEXT_LIKE, **INTEGERS, **NUMBERS, **TIMES, **OTHERS}


@dataclass(frozen=True)
class Dirt:
    """A value that a column holds although Django would not have put it there, and who else could hold it.

    Of MySQL and MariaDB, only the latter may be able to hold it.
    """

    name: str
    model: type[Model]
    sql: str
    kept_by: tuple[str, ...] = ()
    only_mariadb: bool = False


DIRT: Mapping[str, Sequence[Dirt]] = {
    "sqlite": (
        Dirt("blob-in-text", models.TextValue, "x'ff00'"),
        Dirt("blob-of-utf-8-in-text", models.TextValue, "x'414243'"),
        Dirt("blob-in-char", models.CharValue, "x'41'"),
        Dirt("invalid-utf-8", models.TextValue, "CAST(x'41ff42' AS TEXT)"),
        Dirt("cut-utf-8", models.CharValue, "CAST(x'41c3' AS TEXT)"),
        Dirt("surrogate-in-utf-8", models.TextValue, "CAST(x'eda080' AS TEXT)"),
        Dirt("empty-text-in-float", models.FloatValue, "''"),
        Dirt("text-in-float", models.FloatValue, "'50+'"),
        Dirt("blob-in-float", models.FloatValue, "x'00'"),
        Dirt("empty-text-in-integer", models.IntegerValue, "''"),
        Dirt("text-in-integer", models.IntegerValue, "'50+'"),
        Dirt("fraction-in-integer", models.IntegerValue, "1.5"),
        Dirt("huge-real-in-integer", models.IntegerValue, "1e300"),
        Dirt("negative-in-positive", models.PositiveIntegerValue, "-1"),
        Dirt("two-in-boolean", models.BooleanValue, "2"),
        Dirt("minus-one-in-boolean", models.BooleanValue, "-1"),
        Dirt("text-in-boolean", models.BooleanValue, "'true'"),
        Dirt("empty-text-in-boolean", models.BooleanValue, "''"),
        Dirt("half-in-boolean", models.BooleanValue, "0.5"),
        Dirt("garbage-in-date", models.DateValue, "'garbage'"),
        Dirt("empty-text-in-date", models.DateValue, "''"),
        Dirt("zero-date", models.DateValue, "'0000-00-00'"),
        Dirt("february-30", models.DateValue, "'2021-02-30'"),
        Dirt("february-29-in-300", models.DateValue, "'0300-02-29'"),
        Dirt("nul-behind-date", models.DateValue, "'2021-01-01' || char(0) || 'x'"),
        Dirt("time-in-date", models.DateValue, "'2021-01-01 12:00:00'"),
        Dirt("date-without-dashes", models.DateValue, "'20210101'", kept_by=("postgresql", "mysql")),
        Dirt("garbage-in-datetime", models.DateTimeValue, "'garbage'"),
        Dirt("zero-datetime", models.DateTimeValue, "'0000-00-00 00:00:00'"),
        Dirt("24-hours-in-datetime", models.DateTimeValue, "'2021-01-01 24:00:00'"),
        Dirt("nul-behind-datetime", models.DateTimeValue, "'2021-01-01 00:00:00' || char(0) || 'x'"),
        Dirt("epoch-in-datetime", models.DateTimeValue, "1600000000"),
        Dirt("nanoseconds-in-datetime", models.DateTimeValue, "'2021-01-01 00:00:00.123456789'"),
        Dirt("garbage-in-time", models.TimeValue, "'garbage'"),
        Dirt("24-hours-in-time", models.TimeValue, "'24:00:00'"),
        Dirt("nanoseconds-in-time", models.TimeValue, "'00:00:00.123456789'"),
        Dirt("text-in-duration", models.DurationValue, "'1 day'"),
        Dirt("fraction-in-duration", models.DurationValue, "1.5"),
        Dirt("nul-behind-time", models.TimeValue, "'12:00:00' || char(0) || 'x'"),
        Dirt("garbage-in-uuid", models.UUIDValue, "'not-a-uuid'"),
        Dirt("nul-behind-uuid", models.UUIDValue, "'16fd27068baf433b82eb8c7fada847da' || char(0)"),
        Dirt("short-uuid", models.UUIDValue, "'16fd2706'"),
        Dirt("garbage-in-address", models.IPAddressValue, "'999.1.1.1'", kept_by=("sqlite", "mysql")),
        Dirt("empty-text-in-address", models.IPAddressValue, "''", kept_by=("mysql",)),
        Dirt("garbage-in-json", models.JSONValue, "'{garbage'"),
        Dirt("nan-in-json", models.JSONValue, "'{\"a\": NaN}'"),
        Dirt("text-in-decimal", models.MoneyDecimalValue, "'1,50'"),
        Dirt("empty-text-in-decimal", models.MoneyDecimalValue, "''"),
        Dirt("third-place-in-decimal", models.MoneyDecimalValue, "1.005"),
        Dirt("tenth-digit-in-decimal", models.MoneyDecimalValue, "123456789.25"),
        Dirt("19-digits-in-decimal", models.LongDecimalValue, "1234567890123456789"),
        Dirt("16-digits-in-decimal", models.LongDecimalValue, "-1234567890123456"),
        Dirt("least-integer-in-decimal", models.LongDecimalValue, "-9223372036854775808"),
        Dirt("least-integer-in-money", models.MoneyDecimalValue, "-9223372036854775808"),
        Dirt("infinity-in-decimal", models.MoneyDecimalValue, "9e999"),
        Dirt("text-in-binary", models.BinaryValue, "'text'"),
    ),
    "mysql": (
        Dirt("zero-date", models.DateValue, "'0000-00-00'"),
        Dirt("zero-day", models.DateValue, "'2021-06-00'"),
        Dirt("february-30", models.DateValue, "'2021-02-30'"),
        Dirt("zero-datetime", models.DateTimeValue, "'0000-00-00 00:00:00'"),
        Dirt("zero-month", models.DateTimeValue, "'2021-00-01 10:00:00'"),
        Dirt("two-in-boolean", models.BooleanValue, "2"),
        Dirt("minus-one-in-boolean", models.BooleanValue, "-1"),
        Dirt("negative-time", models.TimeValue, "'-10:00:00'"),
        Dirt("hundred-hours", models.TimeValue, "'100:00:00'"),
        Dirt("garbage-in-address", models.IPAddressValue, "'999.1.1.1'", kept_by=("sqlite", "mysql")),
        Dirt("garbage-in-json", models.JSONValue, "'{garbage'", only_mariadb=True),
    ),
    "postgresql": (
        Dirt("infinite-date", models.DateValue, "'infinity'"),
        Dirt("negative-infinite-date", models.DateValue, "'-infinity'"),
        Dirt("date-before-christ", models.DateValue, "'0044-03-15 BC'"),
        Dirt("year-10000", models.DateValue, "'10000-01-01'"),
        Dirt("infinite-datetime", models.DateTimeValue, "'infinity'"),
        Dirt("negative-infinite-datetime", models.DateTimeValue, "'-infinity'"),
        Dirt("datetime-before-christ", models.DateTimeValue, "'0044-03-15 12:00:00+00 BC'"),
        Dirt("datetime-in-year-10000", models.DateTimeValue, "'10000-01-01 00:00:00+00'"),
        Dirt("24-hours", models.TimeValue, "'24:00:00'"),
        Dirt("month", models.DurationValue, "'1 month'"),
        Dirt("year-and-day", models.DurationValue, "'1 year 1 day'"),
        Dirt("negative-month", models.DurationValue, "'-1 month 30 days'"),
        Dirt("nan-in-decimal", models.MoneyDecimalValue, "'NaN'"),
        Dirt("nan-in-custom-decimal", models.MoneyValue, "'NaN'", kept_by=("sqlite",)),
        Dirt("network", models.IPAddressValue, "'192.168.0.0/24'", kept_by=("sqlite", "mysql")),
    ),
}

# SQLite holds what other programs wrote in notations of their own; Django reads these without a loss.
LENIENT = (
    Dirt("uuid-with-dashes", models.UUIDValue, "'16FD2706-8baf-433b-82eb-8c7fada847da'"),
    Dirt("datetime-with-offset", models.DateTimeValue, "'2021-06-01 12:00:00.5+02:00'"),
    Dirt("datetime-with-t", models.DateTimeValue, "'2021-06-01T12:00:00'"),
    Dirt("datetime-without-seconds", models.DateTimeValue, "'2021-06-01 12:00'"),
    Dirt("time-without-seconds", models.TimeValue, "'12:00'"),
    Dirt("json-with-spaces", models.JSONValue, "' {\"a\" :  1 } '"),
    Dirt("whole-real-in-integer", models.IntegerValue, "2.0"),
    Dirt("integer-in-float", models.FloatValue, "3"),
    Dirt("round-integer-in-decimal", models.LongDecimalValue, "-1234567890123450000"),
)
