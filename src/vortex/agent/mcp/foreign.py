"""What another program says about its tools, made fit for a model's eyes.

A description is read by the model before any call, so it is a place for orders. Promises: names that every engine
takes, descriptions sanitised and short, schemas of bounded size. Does not judge what a tool does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from vortex.agent.web.sanitising import SanitizeRules, sanitize

MAX_DESCRIPTION_CHARS = 400
MAX_SCHEMA_CHARS = 8000
MAX_DEPTH = 8
NAME = re.compile(r"[^A-Za-z0-9_-]+")
RULES = SanitizeRules(max_chars=MAX_DESCRIPTION_CHARS, max_instruction_density=1.0)
KEPT_KEYS = frozenset(
    {"type", "properties", "required", "items", "enum", "minimum", "maximum", "default", "anyOf", "const", "format"}
)


def tool_name(server: str, tool: str) -> str:
    return NAME.sub("_", f"{server}_{tool}")[:64]


def description(server: str, text: str) -> str:
    clean = " ".join(sanitize(text, RULES).text.split())
    return f"(from {server}) {clean}"


def schema(given: Mapping[str, Any]) -> dict[str, Any]:
    """The words of the schema that say what an argument is; its prose sanitised; all of it dropped where it is huge."""
    found = _plain(given, 0)
    if not isinstance(found, dict) or len(json.dumps(found)) > MAX_SCHEMA_CHARS:
        return {"type": "object", "properties": {}}
    return {"properties": {}, **found, "type": "object"}


def _plain(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        return {}
    if isinstance(value, Mapping):
        kept: dict[str, Any] = {}
        for key, inner in value.items():
            if key == "description" and isinstance(inner, str):
                kept[key] = " ".join(sanitize(inner, RULES).text.split())[:200]
            elif key == "properties" and isinstance(inner, Mapping):
                kept[key] = {str(name)[:64]: _plain(rule, depth + 1) for name, rule in inner.items()}
            elif key in KEPT_KEYS:
                kept[key] = _plain(inner, depth + 1)
        return kept
    if isinstance(value, list):
        return [_plain(item, depth + 1) for item in value[:100]]
    return value
