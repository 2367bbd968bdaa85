"""Raw keys taken apart around a prefix."""

from collections.abc import Callable

import pytest

from migrator.errors import Refused
from migrator.stores.key_space import escaped_glob, key_space


def default(prefix: str, version: int = 1) -> Callable[[str], str]:
    return lambda key: f"{prefix}:{version}:{key}"


@pytest.mark.parametrize("prefix", ["", "my:app", "app[1]*?\\", "zq0"])
def test_finds_the_key_in_a_raw_key(prefix: str) -> None:
    space = key_space(default(prefix), alias="a", prefix="engine.cache")

    assert space.key(space.raw("some:key")) == "some:key"
    assert space.key(f"other:1:engine.cache{prefix}") is None
    assert space.key(f"{prefix}:2:engine.cachekey") is None


def test_tells_a_prefix_from_a_longer_one_by_the_form_of_keys() -> None:
    space = key_space(default(""), alias="a", prefix="engine.cache", candidate="[a-z0-9]{4}")

    assert space.key(":1:engine.cacheabcd") == "abcd"
    assert space.key(":1:engine.cached_dbabcd") is None


@pytest.mark.parametrize(
    "make_key",
    [lambda key: key[::-1], lambda key: key.upper(), lambda key: str(len(key)), lambda key: f"{key[0]}:{key}"],
)
def test_refuses_what_cannot_be_reversed(make_key: Callable[[str], str]) -> None:
    if make_key("ab") == "a:ab":  # reversible for keys that begin alike, and checked again for each
        space = key_space(make_key, alias="a")
        assert space.key("z:zero") == "zero"
        assert space.key("z:other") is None
        return
    with pytest.raises(Refused, match="KEY_FUNCTION of the cache 'a' cannot be reversed"):
        key_space(make_key, alias="a")


def test_escapes_patterns() -> None:
    assert escaped_glob("a*b?[c]\\") == "a\\*b\\?\\[c\\]\\\\"
