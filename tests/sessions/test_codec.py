"""The fast codec writes and reads what Django does, byte for byte, and gives way where a project differs."""

import datetime as dt
import json
import time
from typing import Any

import pytest
from django.contrib.sessions.backends import db
from django.core import signing
from django.test import override_settings

from migrator.errors import Refused
from migrator.sessions.codec import PROBES, BadSignature, EngineCodec, FastCodec, UnreadableSession, codec_for, saved_at

VALUES: list[dict[str, Any]] = [
    *PROBES,
    {"a": "x" * 5000},
    {"escape": "</script>\u2028\ud800"},
    {"big": 2**70, "float": 1e-300, "none": None},
    {str(number): number for number in range(300)},
]


@pytest.mark.parametrize("data", VALUES, ids=lambda data: str(data)[:20])
def test_writes_and_reads_what_django_does(data: dict[str, Any]) -> None:
    engine = db.SessionStore()
    codec = codec_for(engine)
    assert codec.is_fast

    theirs, ours = engine.encode(data), codec.encode(data, int(time.time()))

    assert ours.rsplit(":", 2)[0] == theirs.rsplit(":", 2)[0]
    assert engine.decode(ours) == codec.decode(theirs) == data


def test_writes_the_same_signature_at_the_same_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000)
    engine = db.SessionStore()
    assert codec_for(engine).encode({"a": 1}, 1_700_000_000) == engine.encode({"a": 1})
    assert saved_at(engine.encode({"a": 1})) == 1_700_000_000


@pytest.mark.parametrize("text", ["", "nothing", "a:b", "a:b:c", ":::", "é:a:b"])
def test_reads_nothing_unsigned(text: str) -> None:
    with pytest.raises(BadSignature):
        codec_for(db.SessionStore()).decode(text)
    assert saved_at("nothing") is None


@pytest.mark.parametrize("value", [[1], "text", None])
def test_tells_other_signed_values_from_sessions(value: Any) -> None:
    engine = db.SessionStore()
    with pytest.raises(UnreadableSession, match="not a session"):
        codec_for(engine).decode(signing.dumps(value, salt=engine.key_salt))


def test_tells_signed_text_that_is_no_json() -> None:
    engine = db.SessionStore()
    text = signing.TimestampSigner(salt=engine.key_salt).sign(".eJw")
    with pytest.raises(UnreadableSession, match=r"it is signed, but it is not JSON \(error\)"):
        codec_for(engine).decode(text)


def test_reads_with_fallback_keys_and_signs_with_the_first() -> None:
    engine = db.SessionStore()
    with override_settings(SECRET_KEY="old"):
        text = engine.encode({"a": 1})
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["older", "old"]):
        codec = codec_for(engine)
        assert codec.decode(text) == {"a": 1}
        assert engine.decode(codec.encode({"a": 2}, 1)) == {"a": 2}
    with override_settings(SECRET_KEY="new"), pytest.raises(BadSignature):
        codec_for(engine).decode(text)


class DatesSerializer:
    """JSON that knows dates."""

    def dumps(self, data: Any) -> bytes:
        return json.dumps(data, separators=(",", ":"), default=str).encode("latin-1")

    def loads(self, text: bytes) -> Any:
        return json.loads(text)


class ShoutingStore(db.SessionStore):
    def encode(self, data: Any) -> str:
        return super().encode(data).swapcase()

    def decode(self, text: str) -> Any:
        return super().decode(text.swapcase())


class ForgetfulStore(db.SessionStore):
    def decode(self, text: str) -> Any:
        return {}


@override_settings(SESSION_SERIALIZER="tests.sessions.test_codec.DatesSerializer")
def test_gives_way_to_a_serializer_that_knows_more() -> None:
    codec = codec_for(db.SessionStore())

    assert isinstance(codec, EngineCodec)
    assert codec.decode(codec.encode({"a": dt.date(2020, 1, 1)}, 1)) == {"a": "2020-01-01"}
    assert codec.encode_checked({"a": dt.date(2020, 1, 1)}, 1)[1] is False


def test_gives_way_to_an_engine_with_methods_of_its_own() -> None:
    codec = codec_for(ShoutingStore())

    assert isinstance(codec, EngineCodec)
    assert codec.decode(codec.encode({"a": 1}, 1)) == {"a": 1}
    assert codec.decode(codec.encode({}, 1)) == {}
    with pytest.raises(UnreadableSession, match="returns an empty session for it"):
        codec.decode("nonsense")


def test_refuses_an_engine_that_does_not_read_what_it_writes() -> None:
    with pytest.raises(Refused, match="ForgetfulStore cannot read back what it writes"):
        codec_for(ForgetfulStore())


@pytest.mark.parametrize(
    ("data", "survives"),
    [
        ({"a": "b", "n": 1, "t": True, "none": None}, True),
        ({"a": [1, {"b": "c"}], "f": 1.5}, True),
        ({"a": (1, 2)}, False),
        ({1: "a"}, False),
        ({"a": {2: "b"}}, False),
        ({"a": float("nan")}, False),
        ({"a": [[{"b": [1, (2,)]}]]}, False),
        ({"a": "\ud83d\ude00"}, False),  # two halves of a character, which JSON puts together
        ({"a": "\U0001f600"}, True),
    ],
)
def test_tells_what_json_gives_back_equal(data: Any, survives: bool) -> None:
    engine = db.SessionStore()
    assert FastCodec(engine.key_salt).encode_checked(data, 1)[1] is survives
    assert EngineCodec(engine).encode_checked(data, 1)[1] is survives
