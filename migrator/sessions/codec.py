"""Django's signed session text, read and written fast, and byte for byte as Django does.

:func:`codec_for` compares the fast codec with the project's session class and falls back to that class if any result
differs, so a project's own serializer, salt or method is always respected.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import json.encoder
import json.scanner
import time
import zlib
from base64 import urlsafe_b64encode
from binascii import a2b_base64
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.core import signing
from django.utils.encoding import force_bytes

from ..errors import Refused
from ..stores.compression import TooLarge, unpacked

Data = dict[str, Any]

_BLOCK = hashlib.sha256().block_size
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")

PROBES: tuple[Data, ...] = (
    {},
    {"_auth_user_id": "1", "_auth_user_backend": "a.B", "_auth_user_hash": "0" * 64},
    {
        "text": 'é 漢 \U0001f600 " \\ \x00',
        "number": -1.5,
        "nested": {"list": [1, None, True, {"a": "b" * 90}]},
    },
    {"_session_expiry": 1800, "cart": [{"sku": str(number), "quantity": number} for number in range(40)]},
)


class UnreadableSession(Exception):
    """A stored value that the session engine could not read either; the message does not contain any of it."""


class BadSignature(UnreadableSession):
    """Text that was not signed with SECRET_KEY or any of SECRET_KEY_FALLBACKS."""


class Codec(Protocol):
    """Converts session data to signed text and back."""

    is_fast: bool

    def encode(self, data: Data, saved_at: int) -> str:
        """Sign ``data`` as saved at ``saved_at``, in seconds of Unix time."""

    def encode_checked(self, data: Data, saved_at: int) -> tuple[str, bool]:
        """Sign ``data``; return the text, and whether it will be read back equal."""

    def decode(self, text: str) -> Data:
        """Return the data of signed text; raise :exc:`UnreadableSession` if the engine would return no data."""


class _Signature:
    """HMAC-SHA256 with the two key blocks hashed once and copied for each message."""

    def __init__(self, secret: str | bytes, salt: str) -> None:
        key = hashlib.sha256(force_bytes(f"{salt}signer") + force_bytes(secret)).digest()
        padded = key.ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(padded.translate(_INNER))
        self._outer = hashlib.sha256(padded.translate(_OUTER))

    def of(self, message: bytes) -> bytes:
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return urlsafe_b64encode(outer.digest())[:43]  # 32 bytes are 43 characters and one of padding


def _json_encoder() -> Callable[[Data], str]:
    """Return the function ``json.dumps(data, separators=(",", ":"))``, set up once if the C encoder exists."""
    plain = json.JSONEncoder(separators=(",", ":"))
    make_encoder = getattr(json.encoder, "c_make_encoder", None)
    if make_encoder is None:  # not every Python has it
        return plain.encode
    compiled = make_encoder(
        None, plain.default, json.encoder.encode_basestring_ascii, None, ":", ",", False, False, True
    )
    return lambda data: "".join(compiled(data, 0))


def _json_decoder() -> Callable[[str], Any]:
    """Return the function ``json.loads`` without its two searches for white space."""
    plain = json.JSONDecoder()
    scan: Callable[[str, int], tuple[Any, int]] = json.scanner.make_scanner(plain)  # type: ignore[arg-type]

    def decode(text: str) -> Any:
        try:
            value, end = scan(text, 0)
        except StopIteration:
            return plain.decode(text)
        return value if end == len(text) else plain.decode(text)

    return decode


class FastCodec:
    """Does what ``SessionBase.encode`` and ``decode`` do with the JSON serializer, without their set-up per call."""

    is_fast = True

    def __init__(self, salt: str) -> None:
        self._signature = _Signature(settings.SECRET_KEY, salt)
        self._fallbacks = [_Signature(key, salt) for key in settings.SECRET_KEY_FALLBACKS]
        self._to_json = _json_encoder()
        self._from_json = _json_decoder()
        self._stamp = (-1, b"")

    def encode(self, data: Data, saved_at: int) -> str:
        return self._signed(self._to_json(data).encode("latin-1"), saved_at)

    def encode_checked(self, data: Data, saved_at: int) -> tuple[str, bool]:
        text = self._to_json(data)
        # JSON joins two separate surrogates into one character, and escapes them as it does the whole character.
        survives = (_is_plain(data) and "\\ud" not in text) or self._from_json(text) == data
        return self._signed(text.encode("latin-1"), saved_at), survives

    def _signed(self, plain: bytes, saved_at: int) -> str:
        stamp = self._stamp
        if saved_at != stamp[0]:
            stamp = self._stamp = (saved_at, b":" + signing.b62_encode(saved_at).encode())
        packed = zlib.compress(plain)
        if len(packed) < len(plain) - 1:
            body = b"." + urlsafe_b64encode(packed).rstrip(b"=") + stamp[1]
        else:
            body = urlsafe_b64encode(plain).rstrip(b"=") + stamp[1]
        return (body + b":" + self._signature.of(body)).decode("ascii")

    def decode(self, text: str) -> Data:
        try:
            body, signature = text.encode("ascii").rsplit(b":", 1)
        except ValueError:  # no separator, or a character that signed text never has
            raise BadSignature("it is not signed") from None
        if not hmac.compare_digest(self._signature.of(body), signature) and not any(
            hmac.compare_digest(fallback.of(body), signature) for fallback in self._fallbacks
        ):
            raise BadSignature("its signature matches no secret key")
        try:
            packed = body[: body.rindex(b":")]
            compressed = packed[:1] == b"."
            plain = unpacked(_from_base64(packed[1:])) if compressed else _from_base64(packed)
            data = self._from_json(plain.decode("latin-1"))
        except TooLarge as error:
            raise UnreadableSession(str(error)) from None
        except Exception as error:
            raise UnreadableSession(f"it is signed, but it is not JSON ({type(error).__name__})") from None
        return checked(data)


def _from_base64(text: bytes) -> bytes:
    return a2b_base64(text.translate(_TO_STANDARD) + b"=" * (-len(text) % 4))


class EngineCodec:
    """Calls the project's own session class for each session: slow, and correct by definition."""

    is_fast = False

    def __init__(self, engine: SessionBase) -> None:
        self._engine = engine
        self._decodes_itself = type(engine).decode is not SessionBase.decode

    def encode(self, data: Data, saved_at: int) -> str:
        return self._engine.encode(data)

    def encode_checked(self, data: Data, saved_at: int) -> tuple[str, bool]:
        text = self._engine.encode(data)
        return text, self.decode(text) == data

    def decode(self, text: str) -> Data:
        if self._decodes_itself:
            return self._decode_by_method(text)
        try:
            data = signing.loads(text, salt=self._engine.key_salt, serializer=self._engine.serializer)
        except signing.BadSignature:
            raise BadSignature("its signature matches no secret key") from None
        except Exception as error:
            raise UnreadableSession(f"the session serializer fails on it ({type(error).__name__})") from None
        return checked(data)

    def _decode_by_method(self, text: str) -> Data:
        try:
            data = self._engine.decode(text)
        except Exception as error:
            raise UnreadableSession(f"the engine's decode() fails on it ({type(error).__name__})") from None
        if data == {} and text.partition(":")[0] != self._engine.encode({}).partition(":")[0]:
            raise UnreadableSession("the engine's decode() returns an empty session for it")
        return checked(data)


def checked(data: Any) -> Data:
    """Return session data; raise :exc:`UnreadableSession` for a stored value of another type."""
    if type(data) is dict or isinstance(data, Mapping):
        return data  # type: ignore[return-value]
    raise UnreadableSession(f"it holds {type(data).__name__}, not a session")


def saved_at(text: str) -> int | None:
    """Return when signed text was saved, in seconds of Unix time; None if it does not contain that."""
    try:
        return signing.b62_decode(text[text.rindex(":", 0, text.rindex(":")) + 1 : text.rindex(":")])
    except (ValueError, IndexError):
        return None


def codec_for(engine: SessionBase) -> Codec:
    """Return the fast codec if its results are those of ``engine``, otherwise one that calls ``engine``.

    Raises :exc:`migrator.errors.Refused` if the engine cannot read what it writes.
    """
    slow = EngineCodec(engine)
    for probe in PROBES:
        try:
            understood = slow.decode(engine.encode(probe)) == probe
        except UnreadableSession:
            understood = False
        if not understood:
            name = f"{type(engine).__module__}.{type(engine).__qualname__}"
            raise Refused(
                f"The session engine {name} cannot read back what it writes, so nothing can be copied through it. "
                "Check its encode() and decode(), and SESSION_SERIALIZER."
            )
    fast = FastCodec(engine.key_salt)
    return fast if _agrees(fast, engine) else slow


def _agrees(fast: FastCodec, engine: SessionBase) -> bool:
    now = int(time.time())
    is_json = _refuses_what_json_cannot_hold(engine)
    return is_json and all(_agrees_on(probe, fast, engine, now) for probe in PROBES)


def _agrees_on(probe: Data, fast: FastCodec, engine: SessionBase, now: int) -> bool:
    theirs, ours = engine.encode(probe), fast.encode(probe, now)
    same_text = theirs.rsplit(":", 2)[0] == ours.rsplit(":", 2)[0] and len(theirs) == len(ours)
    try:
        return same_text and engine.decode(ours) == probe and fast.decode(theirs) == probe
    except UnreadableSession:
        return False


def _refuses_what_json_cannot_hold(engine: SessionBase) -> bool:
    """Whether the serializer is plain JSON, and not one that extends it (dates, decimals) but agrees on all probes."""
    for value in (dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.date(2020, 1, 1), b"x", {1, 2}):
        try:
            engine.encode({"value": value})
        except TypeError:
            continue
        return False
    return True


def same_text(one: SessionBase, other: SessionBase) -> bool:
    """Whether two engines read each other's text, so that it can be moved unchanged."""

    def reads(reader: SessionBase, text: str, probe: Data) -> bool:
        try:
            return codec_for(reader).decode(text) == probe
        except UnreadableSession:
            return False

    return all(reads(other, one.encode(probe), probe) and reads(one, other.encode(probe), probe) for probe in PROBES)


_STRINGS = frozenset({str})


def _is_plain(value: Any) -> bool:
    """Whether JSON returns a value equal, judged by types alone: numeric keys, tuples and NaN do not survive."""
    for item in value.values() if type(value) is dict else value:
        kind = type(item)
        if kind is dict or kind is list:
            if not _is_plain(item):
                return False
        elif not (kind is str or kind is int or item is None or kind is bool or (kind is float and item == item)):
            return False
    return type(value) is list or (type(value) is dict and _STRINGS.issuperset(map(type, value)))
