"""Passwords of the settings, to be hidden in messages: servers and drivers quote what they were sent.

A Redis older than 6, for example, answers the ``HELLO`` of newer clients with all of its arguments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from django.conf import settings

HIDDEN = "***"
# In a URL, and in a connection string or a query.
_IN_TEXT = re.compile(r"://[^/?#\s]*?:([^/?#\s]+)@|\bpass(?:word|wd)?=([^&;\s]+)", re.IGNORECASE)
_KEY = re.compile(r"pass(?!file)", re.IGNORECASE)


def without_passwords(text: str) -> str:
    """Return text of a server or a driver with each password of ``DATABASES`` and ``CACHES`` hidden."""
    for secret in sorted(set(_passwords([settings.DATABASES, settings.CACHES])), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def _passwords(value: Any, *, is_named: bool = False) -> Iterator[str]:
    """Yield passwords: the values of keys that are named so, and those in URLs."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _passwords(inner, is_named=bool(_KEY.search(str(key))))
    elif isinstance(value, list | tuple | set):
        for inner in value:
            yield from _passwords(inner, is_named=is_named)
    elif isinstance(value, bytes):
        yield from _passwords(value.decode(errors="replace"), is_named=is_named)
    elif isinstance(value, str) and value:
        if is_named:
            yield value
        for found in _IN_TEXT.finditer(value):
            secret = found[1] or found[2]
            yield from {secret, unquote(secret)}
