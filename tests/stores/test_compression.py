"""Compressed values: unpacked as the compressor of the cache does, and never into more than anybody stored."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from django_redis.exceptions import CompressorError

from migrator.stores import compression
from migrator.stores.compression import TooLarge, unpacked, unpacked_by

COMPRESSORS = [
    "django_redis.compressors.zlib.ZlibCompressor",
    "django_redis.compressors.gzip.GzipCompressor",
    "django_redis.compressors.lzma.LzmaCompressor",
    "django_redis.compressors.lz4.Lz4Compressor",
    "django_redis.compressors.zstd.ZStdCompressor",
    "django_redis.compressors.identity.IdentityCompressor",
    "django_valkey.compressors.zlib.ZlibCompressor",
    "django_valkey.compressors.bz2.Bz2Compressor",
]
PACKING = [name for name in COMPRESSORS if "identity" not in name]


def compressor(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    # django-redis has gzip since 6.0.
    return getattr(pytest.importorskip(module), attribute)({})


@pytest.mark.parametrize("name", COMPRESSORS)
@pytest.mark.parametrize("value", [b"a value of some length, and a little more " * 50, bytes(10_000)], ids=len)
def test_unpacks_what_the_compressor_packs(name: str, value: bytes) -> None:
    packing = compressor(name)
    assert unpacked_by(packing, packing.compress(value)) == value


def test_leaves_what_was_not_packed_to_the_compressor() -> None:
    packing = compressor("django_redis.compressors.zlib.ZlibCompressor")
    assert packing.compress(b"short") == b"short"
    with pytest.raises(CompressorError):
        unpacked_by(packing, b"short")


@pytest.mark.parametrize("name", PACKING)
def test_stops_at_what_unpacks_into_too_much(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "LARGEST", 1024**2)
    packing = compressor(name)
    monkeypatch.setattr(type(packing), "decompress", lambda self, value: pytest.fail("unpacked without a bound"))
    with pytest.raises(TooLarge, match=r"more than \d+ MiB"):
        unpacked_by(packing, packing.compress(bytes(2 * 1024**2)))


def test_takes_large_values_that_do_not_pack_so_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "LARGEST", 1024)
    value = b"".join(b"%d," % number for number in range(100_000))
    assert unpacked(zlib.compress(value)) == value


def test_says_that_a_value_is_cut_off() -> None:
    with pytest.raises(zlib.error, match="incomplete"):
        unpacked(zlib.compress(bytes(1000))[:-5])
