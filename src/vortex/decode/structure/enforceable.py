"""What of a JSON schema can be enforced token by token, in the words that the grammar library reads.

Schemas come from every kind of generator. Annotations (titles, unknown formats and keywords) are passed over without a
word. A keyword that bears on what is valid and cannot be enforced is left out and named, or, in a strict schema, is a
refusal that names it. Equal forms are rewritten: tuples of older drafts, `oneOf`, bounds that are switches, whole
numbers written as 3.0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vortex.errors import RequestError

TYPES = {"string", "number", "integer", "boolean", "null", "object", "array"}
FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"}
COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
UNENFORCED = (
    *("not", "dependentRequired", "dependentSchemas", "dependencies", "contains", "minContains", "maxContains"),
    *("unevaluatedItems", "$dynamicRef", "$recursiveRef"),
)
MAPS = ("properties", "patternProperties", "$defs", "definitions")
LISTS = ("anyOf", "allOf", "prefixItems")
SINGLE = ("items", "additionalProperties", "additionalItems")
LARGEST = 2**53
MAX_STEP = 10_000  # of `multipleOf`: an automaton counts it out
MAX_MIXED = 256  # ways to choose one member of every alternative that must fit together
MAX_NOTES = 16
Schema = dict[str, Any] | bool


@dataclass(slots=True)
class Kept:
    """schema: what is enforced. notes: what is not, each as `keyword at place`."""

    schema: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def enforceable(schema: Mapping[str, Any], *, strict: bool) -> Kept:
    """RequestError for a strict schema that asks for more."""
    reader = _Reader(schema, strict)
    read = reader.schema(schema, "")
    kept = read if isinstance(read, dict) else {}
    if read is False:
        reader.drop("false", "")
    return Kept(kept, list(dict.fromkeys(reader.notes))[:MAX_NOTES])


class _Reader:
    def __init__(self, root: Mapping[str, Any], strict: bool) -> None:
        self._root = root
        self._strict = strict
        self.notes: list[str] = []

    def drop(self, keyword: str, path: str, why: str = "cannot be enforced") -> None:
        place = path or "the top"
        if self._strict:
            raise RequestError(
                f"the schema's keyword '{keyword}' at {place} {why}; leave it out, or do not ask for 'strict'",
                code="invalid_schema",
            )
        self.notes.append(f"'{keyword}' at {place} is not enforced")

    def schema(self, value: object, path: str) -> Schema:
        if isinstance(value, bool):
            return value
        if not isinstance(value, Mapping):
            self.drop(type(value).__name__, path, "is no schema")
            return {}
        result: dict[str, Any] = {}
        for keyword, item in value.items():
            self._keyword(keyword, item, path, result)
        self._older_forms(value, path, result)
        self._contradictions(path, result)
        return result

    def _keyword(self, keyword: str, item: Any, path: str, result: dict[str, Any]) -> None:
        here = f"{path}.{keyword}".lstrip(".")
        if keyword in MAPS:
            if isinstance(item, Mapping):
                result[keyword] = {str(name): self.schema(inner, f"{here}.{name}") for name, inner in item.items()}
            elif item is not None:
                self.drop(keyword, path, "must be an object")
        elif keyword in SINGLE and isinstance(item, Mapping | bool):
            result[keyword] = self.schema(item, here)
        elif keyword in SINGLE and not isinstance(item, list) and item is not None:
            self.drop(keyword, path, "is no schema")
        elif keyword in (*LISTS, "oneOf"):
            self._members(keyword, item, path, result)
        elif read := _VALUES.get(keyword):
            checked = read(item)
            if checked is not None:
                result[keyword] = checked
            elif item is not None and not (keyword == "format" and isinstance(item, str)) and item is not True:
                self.drop(keyword, path, "has a value that cannot be used")
        elif keyword == "$ref":
            self._reference(item, path, result)
        elif keyword == "const":
            result[keyword] = item
        elif keyword in UNENFORCED or (keyword == "uniqueItems" and item is True):
            self.drop(keyword, path)

    def _members(self, keyword: str, item: Any, path: str, result: dict[str, Any]) -> None:
        if not isinstance(item, list) or (not item and keyword != "allOf"):
            self.drop(keyword, path, "must be a list with members")
            return
        members = [self.schema(inner, f"{path}.{keyword}[{i}]".lstrip(".")) for i, inner in enumerate(item)]
        if keyword != "oneOf":
            result[keyword] = members
            return
        if not self._disjoint(item):
            self.drop("oneOf", path, "has members that may both fit")
        if "anyOf" in result:
            result["allOf"] = [*result.get("allOf", []), {"anyOf": members}]
        else:
            result["anyOf"] = members

    def _reference(self, item: Any, path: str, result: dict[str, Any]) -> None:
        if isinstance(item, str) and (item == "#" or item.startswith("#/")) and self.resolved(item) is not None:
            result["$ref"] = item
        else:
            self.drop("$ref", path, "names nothing in this schema")

    def resolved(self, reference: str) -> object | None:
        """What a local reference points at; None where nothing is there."""
        value: Any = self._root
        for part in reference.lstrip("#").split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(value, Mapping) and name in value:
                value = value[name]
            elif isinstance(value, list) and name.isdigit() and int(name) < len(value):
                value = value[int(name)]
            else:
                return None
        return value if isinstance(value, Mapping | bool) else None

    def _disjoint(self, members: list[Any]) -> bool:
        """Whether no value fits two members: other types, or another constant under one name."""
        found = [self._traits(member) for member in members]
        return all(
            first[0].isdisjoint(second[0])
            or any(first[1][name].isdisjoint(second[1][name]) for name in first[1].keys() & second[1].keys())
            for index, first in enumerate(found)
            for second in found[:index]
        )

    def _traits(self, member: Any) -> tuple[set[str], dict[str, set[str]]]:
        """The types that fit, and for required properties (or the value itself: "") the constants."""
        for _ in range(8):
            if not (
                isinstance(member, Mapping) and set(member) <= {"$ref", "title", "description"} and "$ref" in member
            ):
                break
            member = self.resolved(str(member["$ref"]))
        if not isinstance(member, Mapping):
            return set(TYPES), {}
        listed = _constants(member)
        types = _types(member.get("type")) or TYPES
        constants = {} if listed is None else {"": listed}
        properties, required = member.get("properties"), member.get("required")
        if isinstance(properties, Mapping) and isinstance(required, list):
            for name in required:
                if isinstance(name, str) and isinstance(properties.get(name), Mapping):
                    named = _constants(properties[name])
                    constants |= {} if named is None else {name: named}
        expanded = {*types, *(["integer"] if "number" in types else [])}
        return expanded, constants

    def _older_forms(self, value: Mapping[str, Any], path: str, result: dict[str, Any]) -> None:
        if isinstance(items := value.get("items"), list):
            result["prefixItems"] = [self.schema(inner, f"{path}.items[{i}]") for i, inner in enumerate(items)]
            result.pop("items", None)
            if "additionalItems" in result:
                result["items"] = result.pop("additionalItems")
        result.pop("additionalItems", None)
        for switch, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if value.get(switch) is True and bound in result:
                result[switch] = result.pop(bound)
        if "if" in value and ("then" in value or "else" in value):
            self.drop("if", path)
        if value.get("unevaluatedProperties") is False:
            if any(keyword in value for keyword in ("anyOf", "allOf", "oneOf", "$ref")):
                self.drop("unevaluatedProperties", path)
            else:
                result.setdefault("additionalProperties", False)
        elif isinstance(value.get("unevaluatedProperties"), Mapping):
            self.drop("unevaluatedProperties", path)
        if "propertyNames" in value:
            self._names(value["propertyNames"], path, result)

    def _names(self, names: Any, path: str, result: dict[str, Any]) -> None:
        """Names that must match a pattern, where no other is declared: properties of that pattern alone."""
        pattern = names.get("pattern") if isinstance(names, Mapping) else None
        listed = _constants(names) if isinstance(names, Mapping) else None
        named = {"properties", "patternProperties"} & set(result)
        values = result.get("additionalProperties", {})
        if isinstance(names, Mapping) and not set(names) - {"type", "title", "description"}:
            return
        if named or values is False:
            self.drop("propertyNames", path)
        elif isinstance(pattern, str) and _pattern(pattern):
            result |= {"patternProperties": {pattern: values}, "additionalProperties": False}
        elif listed and isinstance(names, Mapping):
            keys = [names["const"]] if "const" in names else names["enum"]
            result |= {"properties": {k: values for k in keys if isinstance(k, str)}, "additionalProperties": False}
        else:
            self.drop("propertyNames", path)

    def _contradictions(self, path: str, result: dict[str, Any]) -> None:
        pairs = (
            *(("minLength", "maxLength"), ("minItems", "maxItems"), ("minProperties", "maxProperties")),
            *(("minimum", "maximum"), ("exclusiveMinimum", "exclusiveMaximum")),
        )
        for low, high in pairs:
            if low in result and high in result and result[low] > result[high]:
                self.drop(low, path, f"contradicts '{high}'")
                del result[low], result[high]
        mixed = math.prod(len(part["anyOf"]) for part in _parts(result) if "anyOf" in part)
        if "allOf" in result and mixed > MAX_MIXED:
            self.drop("allOf", path, "has too many alternatives")
            del result["allOf"]
        required, properties = result.get("required", []), result.get("properties", {})
        if result.get("additionalProperties") is False and "patternProperties" not in result:
            for name in required:
                if name not in properties:
                    self.drop("required", path, f"names {name!r}, which the schema does not allow")
            result["required"] = [name for name in required if name in properties]
        for name in required:
            if properties.get(name) is False:
                self.drop("required", path, f"names {name!r}, which nothing fits")
                result["required"] = [kept for kept in result["required"] if kept != name]


def _parts(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [schema, *(part for part in schema.get("allOf", []) if isinstance(part, dict))]


def _types(value: Any) -> set[str]:
    names = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return {name for name in names if isinstance(name, str)} & TYPES


def _constants(member: Mapping[str, Any]) -> set[str] | None:
    if "const" in member:
        return {repr(member["const"])}
    return {repr(one) for one in member["enum"]} if isinstance(member.get("enum"), list) else None


def _type(value: Any) -> str | list[str] | None:
    if isinstance(value, str):
        return value if value in TYPES else None
    whole = isinstance(value, list) and value and all(isinstance(name, str) and name in TYPES for name in value)
    return list(dict.fromkeys(value)) if whole else None


def _count(value: Any) -> int | None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**31 and value == int(value)
    return int(value) if fits else None


def _lower(value: Any) -> float | None:
    """Bounds beyond what numbers hold exactly are drawn in, which only narrows what is valid."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return _bound(max(value, -LARGEST)) if is_number else None


def _upper(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return _bound(min(value, LARGEST)) if is_number else None


def _bound(value: Any) -> float | None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
    return value if fits else None


def _step(value: Any) -> float | None:
    return value if _bound(value) is not None and 1 / MAX_STEP <= value <= MAX_STEP else None


def _pattern(value: Any) -> str | None:
    return value if isinstance(value, str) and value.isprintable() and len(value) <= 4096 else None


def _format(value: Any) -> str | None:
    return value if value in FORMATS else None


def _names_of(value: Any) -> list[str] | None:
    is_list = isinstance(value, list) and all(isinstance(name, str) for name in value)
    return list(dict.fromkeys(value)) if is_list else None


def _enum(value: Any) -> list[Any] | None:
    return value if isinstance(value, list) and value else None


_VALUES: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(COUNTS, _count),
    **dict.fromkeys(("minimum", "exclusiveMinimum"), _lower),
    **dict.fromkeys(("maximum", "exclusiveMaximum"), _upper),
    "type": _type,
    "multipleOf": _step,
    "pattern": _pattern,
    "format": lambda value: _format(value) if isinstance(value, str) else None,
    "required": _names_of,
    "enum": _enum,
}


def weakened(schema: Any, fits: Callable[[Mapping[str, Any]], bool], notes: list[str], path: str = "") -> Any:
    """The schema without those keywords of its leaves that the library cannot read, one by one; they are named in
    `notes`. For schemas that failed as a whole."""
    if isinstance(schema, list):
        return [weakened(item, fits, notes, f"{path}[{i}]") for i, item in enumerate(schema)]
    if not isinstance(schema, Mapping):
        return schema
    result = dict(schema)
    for keyword in (*BOUNDS, "multipleOf", "pattern", "format", "enum", "const"):
        if keyword in result and not fits(
            {"type": result["type"], keyword: result[keyword]} if "type" in result else {keyword: result[keyword]}
        ):
            del result[keyword]
            notes.append(f"'{keyword}' at {path or 'the top'} is not enforced")
    for keyword in (*MAPS, *LISTS, *SINGLE):
        if isinstance(inner := result.get(keyword), Mapping | list):
            here = f"{path}.{keyword}".lstrip(".")
            if keyword in MAPS and isinstance(inner, Mapping):
                result[keyword] = {name: weakened(one, fits, notes, f"{here}.{name}") for name, one in inner.items()}
            else:
                result[keyword] = weakened(inner, fits, notes, here)
    return result
