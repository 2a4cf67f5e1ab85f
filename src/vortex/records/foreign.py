"""What a stranger's file says, read with a type and bounds: every number from a file goes through here.

Promises that what comes back is of the type asked for and within the bounds given, and that anything else is a
ModelFileError of one line that names the file, the key and what was found. Remembers which keys were read, so that a
reader can refuse what it did not look at. Bounds that come from tensors are the caller's to give.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vortex.errors import ModelFileError

MOST = 2**31 - 1  # where a caller names no bound: what every core and library takes as a whole number
MOST_JSON_BYTES = 512 << 20
SHOWN_CHARACTERS = 40
REQUIRED: Any = object()


def read_json(data: bytes | str, origin: str) -> Any:
    """Whatever JSON says. Raises ModelFileError, also for nesting without end."""
    if len(data) > MOST_JSON_BYTES:
        raise ModelFileError(f"{origin} has {len(data):,} bytes; no such file is that large")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ModelFileError(f"{origin} is not valid JSON ({reason}); download it again") from error


def read_json_object(path: Path) -> ForeignValues:
    """The object in a file. Raises ModelFileError where it cannot be read, is no JSON, or is no object."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from error
    return ForeignValues(read_json(data, str(path)), str(path))


def shown(value: object) -> str:
    """A foreign value in an error: short, on one line."""
    if isinstance(value, list | tuple | Mapping):
        return f"{'an object' if isinstance(value, Mapping) else 'a list'} of {len(value)}"
    if isinstance(value, int) and abs(value) > 10**30:
        return f"a whole number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def whole(value: object, what: str, *, least: int = 0, most: int = MOST) -> int:
    """`what` names it in the error: "FILE says KEY". A float without a fraction counts; true and false do not."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ModelFileError(f"{what} is {shown(value)}; a whole number belongs there")
    if not least <= value <= most:
        raise ModelFileError(f"{what} is {shown(value)}; it must be between {least:,} and {most:,}")
    return value


def real(value: object, what: str, *, least: float = -1e30, most: float = 1e30) -> float:
    """A finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ModelFileError(f"{what} is {shown(value)}; a number belongs there")
    if isinstance(value, int) and abs(value) > 10**30:
        raise ModelFileError(f"{what} is {shown(value)}; it must be between {least:g} and {most:g}")
    if not math.isfinite(value) or not least <= value <= most:
        raise ModelFileError(f"{what} is {value}; it must be between {least:g} and {most:g}")
    return float(value)


def text(value: object, what: str, *, most: int = 1 << 26) -> str:
    """most: characters."""
    if not isinstance(value, str):
        raise ModelFileError(f"{what} is {shown(value)}; a text belongs there")
    if len(value) > most:
        raise ModelFileError(f"{what} has {len(value):,} characters; at most {most:,} are possible")
    return value


class ForeignValues(Mapping[str, Any]):
    """An object of a file. `prefix` goes before every key asked for (and is shown in errors).

    A key whose value is null counts as missing. `default` is what a missing key gives; without one it is an error.
    As a Mapping it gives values as they are, unread.
    """

    def __init__(self, values: object, origin: str, prefix: str = "", read: set[str] | None = None) -> None:
        if not isinstance(values, Mapping):
            raise ModelFileError(f"{origin} holds {shown(values)} where an object belongs; download it again")
        self.values_by_key, self.origin, self.prefix = values, origin, prefix
        self.read_keys: set[str] = set() if read is None else read

    def __getitem__(self, key: str) -> Any:
        return self.values_by_key[self.prefix + key]

    def __iter__(self) -> Iterator[str]:
        return (key[len(self.prefix) :] for key in self.values_by_key if str(key).startswith(self.prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def under(self, prefix: str) -> ForeignValues:
        """The same object, keys asked for without `prefix`; what is read counts for both."""
        return ForeignValues(self.values_by_key, self.origin, prefix, self.read_keys)

    def raw(self, key: str, default: Any = None) -> Any:
        """The value of no certain type, counted as read."""
        self.read_keys.add(self.prefix + key)
        value = self.values_by_key.get(self.prefix + key)
        return default if value is None else value

    def whole(self, key: str, default: Any = REQUIRED, *, least: int = 0, most: int = MOST) -> int:
        return whole(self._found(key, default), self._what(key), least=least, most=most)

    def real(self, key: str, default: Any = REQUIRED, *, least: float = -1e30, most: float = 1e30) -> float:
        return real(self._found(key, default), self._what(key), least=least, most=most)

    def flag(self, key: str, default: bool) -> bool:
        value = self._found(key, default)
        if not isinstance(value, bool):
            raise ModelFileError(f"{self._what(key)} is {shown(value)}; true or false belongs there")
        return value

    def text(self, key: str, default: Any = REQUIRED, *, most: int = 1 << 26) -> str:
        return text(self._found(key, default), self._what(key), most=most)

    def items_of(self, key: str, default: Any = REQUIRED, *, most: int = 1 << 24) -> Sequence[Any]:
        """A list, its elements of no certain type."""
        value = self._found(key, default)
        if not isinstance(value, list | tuple):
            raise ModelFileError(f"{self._what(key)} is {shown(value)}; a list belongs there")
        if len(value) > most:
            raise ModelFileError(f"{self._what(key)} has {len(value):,} elements; at most {most:,} are possible")
        return value

    def texts(self, key: str, default: Any = REQUIRED, *, most: int = 1 << 24, longest: int = 1 << 16) -> list[str]:
        """longest: characters of one."""
        values = self.items_of(key, default, most=most)
        return [text(value, self._what(f"{key}[{i}]"), most=longest) for i, value in enumerate(values)]

    def wholes(self, key: str, default: Any = REQUIRED, *, least: int = 0, most: int = MOST) -> list[int]:
        values = self.items_of(key, default)
        return [whole(value, self._what(f"{key}[{i}]"), least=least, most=most) for i, value in enumerate(values)]

    def reals(self, key: str, default: Any = REQUIRED) -> list[float]:
        values = self.items_of(key, default)
        return [real(value, self._what(f"{key}[{i}]")) for i, value in enumerate(values)]

    def nested(self, key: str) -> ForeignValues:
        """The object under `key`; one without keys where it is missing."""
        value = self.raw(key, {})
        if not isinstance(value, Mapping):
            raise ModelFileError(f"{self._what(key)} is {shown(value)}; an object belongs there")
        return ForeignValues(value, f"{self.origin}: {self.prefix}{key}")

    def fields_of(self, cls: type, **known: Any) -> dict[str, Any]:
        """Values of a dataclass's fields by their declared types, `known` ones as given; missing ones are left out.

        Raises ModelFileError for keys that are no field of it, and for fields without a default that are missing.
        """
        found: dict[str, Any] = dict(known)
        readers: dict[str, Callable[..., Any]]
        readers = {"int": self.whole, "float": self.real, "bool": self.flag, "str": self.text}
        for each in dataclasses.fields(cls):
            required = each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
            if each.name not in known and (required or self.values_by_key.get(each.name) is not None):
                found[each.name] = readers[str(each.type)](each.name, REQUIRED)
        if unknown := sorted(set(map(str, self.values_by_key)) - {each.name for each in dataclasses.fields(cls)}):
            raise ModelFileError(f"{self.origin} has unknown fields: {', '.join(unknown[:5])}; update vortex")
        return found

    def unread(self) -> list[str]:
        """Keys under the prefix, whole, that nobody asked for and whose value is not null."""
        found = [key for key, value in self.values_by_key.items() if value is not None and key not in self.read_keys]
        return sorted(key for key in map(str, found) if key.startswith(self.prefix))

    def _what(self, key: str) -> str:
        return f"{self.origin} says {self.prefix}{key}"

    def _found(self, key: str, default: Any) -> Any:
        value = self.raw(key)
        if value is not None:
            return value
        if default is REQUIRED:
            raise ModelFileError(f"{self.origin} lacks the key {self.prefix}{key}; it is not a complete model")
        return default
