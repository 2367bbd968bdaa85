"""The JSON documents of the commands, from their schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .markdown import code, table

SCHEMAS = Path(__file__).resolve().parent.parent / "reference" / "schemas"
# In the order of the page.
NAMES = (
    "batch-migrate",
    "batch-migrate-update",
    "verify-counts",
    "doctor",
    "status",
    "copy-sessions",
    "verify-sessions",
    "session-transition",
    "clear-old-sessions",
    "copy-cache",
    "cache-transition",
    "error",
)
# Parts that are described in one document, and where.
_ELSEWHERE = {
    "plan": ("batch-migrate", "[`batch_migrate`](#batch_migrate-and-batch_migrate_models)"),
    "verification": ("", "`models`, `late_counters` and `dangling` of [`verify_counts`](#verify_counts)"),
}
_TYPES = {"array": "list"}


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema of a document."""
    read: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    return read


def keys() -> str:
    """Return a section for each document, with a table of its keys."""
    return "\n".join(_section(name) for name in NAMES)


def _section(name: str) -> str:
    found = schema(name)
    rows = [(code(path), kind, text) for path, kind, text in _keys(name, found, found, "")]
    link = f"Schema: {{download}}`{name}.json <schemas/{name}.json>`"
    return f"## {found['title']}\n\n{found['description']} {link}\n\n{table(('key', 'type', 'meaning'), rows)}"


def _keys(name: str, whole: Mapping[str, Any], part: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str, str]]:
    """Yield the path, the type and the meaning of each key below a part of a schema."""
    for key, given in part.get("properties", {}).items():
        definition = _reference(given)
        found = {**whole["$defs"][definition], **given} if definition else given
        described, elsewhere = _ELSEWHERE.get(definition, (name, ""))
        text = found.get("description", "")
        if "const" in found:
            yield f"{prefix}{key}", "string", f"{code(found['const'])}. {text}"
            continue
        if described != name:
            yield f"{prefix}{key}", _type(found), f"{text} As in {elsewhere}."
            continue
        yield f"{prefix}{key}", _type(found), text
        below = found if "properties" in found else _items(whole, found)
        yield from _keys(name, whole, below, f"{prefix}{key}{'[]' if found.get('type') == 'array' else ''}.")


def _reference(given: Mapping[str, Any]) -> str:
    """Return the name of the definition that a key refers to, if it does."""
    for one in (given, *given.get("anyOf", ())):
        if "$ref" in one:
            return str(one["$ref"]).rpartition("/")[2]
    return ""


def _items(whole: Mapping[str, Any], found: Mapping[str, Any]) -> Mapping[str, Any]:
    items: Mapping[str, Any] = found.get("items", {})
    if definition := _reference(items):
        items = whole["$defs"][definition]
    return items or next((one for one in found.get("anyOf", ()) if "properties" in one), {})


def _type(found: Mapping[str, Any]) -> str:
    kinds = found.get("type", "object")
    names = [kinds] if isinstance(kinds, str) else list(kinds)
    if {"type": "null"} in found.get("anyOf", ()):
        names.append("null")
    return " or ".join(_TYPES.get(name, name) for name in names)
