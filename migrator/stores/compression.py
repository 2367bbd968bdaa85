"""Compressed values decompressed with a limit: a mebibyte can decompress into a gibibyte of zeros."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from importlib import import_module
from typing import Any

from .stored_values import RejectedValue

LARGEST = 64 * 1024**2
MOST_TIMES = 100  # larger values exist, but only malicious ones compress better than this


class TooLarge(RejectedValue):
    """A value would decompress into more than anyone stores on purpose."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"it would decompress into more than {limit // 1024**2:,} MiB")


def unpacked(data: bytes, opener: Callable[[], Any] = zlib.decompressobj) -> bytes:
    """Decompress a whole value. Raises :exc:`TooLarge`, or the library's own error if it is damaged or truncated."""
    limit = max(LARGEST, MOST_TIMES * len(data))
    reader = opener()
    found: bytes = reader.decompress(data, limit + 1)
    if len(found) > limit:
        raise TooLarge(limit)
    if not reader.eof:
        raise zlib.error("incomplete or truncated stream")  # as zlib.decompress says
    return found


def unpacked_by(compressor: Any, data: bytes) -> bytes:
    """Decompress a value as a compressor of django-redis or django-valkey does, but with a limit.

    What cannot be read that way is left to the compressor: an uncompressed value, a raw stream, and the format of a
    compressor of the project's own. Raises :exc:`TooLarge`, or what the compressor raises.
    """
    module = import_module(type(compressor).__module__)
    package, _, kind = module.__name__.rpartition(".")
    if package in ("django_redis.compressors", "django_valkey.compressors") and kind in _OPENERS:
        try:
            return unpacked(data, lambda: _OPENERS[kind](module))
        except TooLarge:
            raise
        except Exception:  # each library has errors of its own
            return bytes(compressor.decompress(data))
    return bytes(compressor.decompress(data))


# By the compressor's module, which has imported the library that it needs.
_OPENERS: dict[str, Callable[[Any], Any]] = {
    "zlib": lambda module: zlib.decompressobj(),
    "gzip": lambda module: zlib.decompressobj(wbits=31),
    "lzma": lambda module: lzma.LZMADecompressor(),
    "bz2": lambda module: bz2.BZ2Decompressor(),
    "lz4": lambda module: import_module("lz4.frame").LZ4FrameDecompressor(),
    "zstd": lambda module: (getattr(module, "zstd", None) or module.pyzstd).ZstdDecompressor(),
}
