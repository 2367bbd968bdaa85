"""The signature of a recorded run, made with the project's SECRET_KEY.

A run's record has SQL that ``--resume`` and ``--cleanup`` execute. Anyone who can write to the table could have other
SQL executed there, if it were not signed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

SEPARATOR = "\nsigned:"  # in no JSON that is written in one line
SALT = "migrator.databases.journal"


def with_signature(text: str, *parts: Any) -> str:
    """Return a text followed by its signature, which covers ``parts`` as well."""
    return text + SEPARATOR + _signature([*parts, text], settings.SECRET_KEY)


def text_of(signed: str) -> str:
    """Return the text without its signature; early versions wrote none."""
    return _split(signed)[0]


def is_signed_here(signed: str, *parts: Any) -> bool:
    """Whether this project signed the text and ``parts``, with its key or a fallback key."""
    text, signature = _split(signed)
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return any(constant_time_compare(signature, _signature([*parts, text], key)) for key in keys)


def _split(signed: str) -> tuple[str, str]:
    text, separator, signature = signed.rpartition(SEPARATOR)
    return (text, signature) if separator else (signed, "")


def _signature(parts: Sequence[Any], key: str | bytes) -> str:
    return salted_hmac(SALT, json.dumps(parts), secret=key, algorithm="sha256").hexdigest()
