"""Settings that come from variables: `config/.env` below the environment, each with a type and an allowed range.

A settings object is a frozen dataclass whose fields are made by `whole`, `number`, `switch`, `choice`, `text`, `urls`
or `secret`: name, default, range and meaning stand there and nowhere else; `variables_of` reads them back.

Promises: every wrong value is named with its variable and what would be right, all of them in one error, before
anything is started; a misspelled name of ours is an error too. Does not do: expansion, commands, multi-line values.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path, PurePath
from typing import Any, Literal
from urllib.parse import urlsplit

from vortex.errors import ConfigError
from vortex.records.atomic import atomic_write

Kind = Literal["integer", "number", "switch", "choice", "text", "urls", "secret"]
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
SWITCH = {"on": True, "true": True, "1": True, "yes": True, "off": False, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable. `minimum` and `maximum` are inclusive; `field` is where its value goes in a settings object."""

    name: str
    field: str
    default: str
    meaning: str
    kind: Kind = "text"
    minimum: float = -math.inf
    maximum: float = math.inf
    choices: tuple[str, ...] = ()
    own_only: bool = False  # redirects, loosens or writes elsewhere: not from a file of the working folder

    @property
    def allowed(self) -> str:
        if self.kind in {"integer", "number"}:
            what = "a whole number" if self.kind == "integer" else "a number"
            return f"{what} from {self.minimum:.10g} to {self.maximum:.10g}"
        if self.kind == "switch":
            return "on or off"
        if self.kind == "choice":
            return " or ".join(self.choices)
        return "one http:// or https:// address, or several with commas" if self.kind == "urls" else "text"

    def parse(self, text: str) -> Any:
        """The value of the variable. Raises ConfigError naming the variable, the value and what is allowed."""
        try:
            return self._parse(text.strip())
        except ValueError:
            shown = "***" if self.kind == "secret" else text
            raise ConfigError(f"{self.name}={shown} is not allowed: set {self.allowed}") from None

    def _parse(self, text: str) -> Any:
        if self.kind in {"integer", "number"}:
            value = int(text) if self.kind == "integer" else float(text)
            if not self.minimum <= value <= self.maximum:
                raise ValueError
            return value
        if self.kind == "switch":
            return _known(SWITCH, text.lower())
        if self.kind == "choice":
            return _known({choice: choice for choice in self.choices}, text.lower())
        if self.kind == "urls":
            return tuple(_address(part.strip()) for part in text.split(","))
        if "\n" in text or "\r" in text:
            raise ValueError
        return text


def whole(name: str, default: int, bounds: tuple[int, int], meaning: str) -> Any:
    return _field(default, Variable(name, "", str(default), meaning, "integer", *bounds))


def number(name: str, default: float, bounds: tuple[float, float], meaning: str) -> Any:
    return _field(float(default), Variable(name, "", f"{default:.10g}", meaning, "number", *bounds))


def switch(name: str, default: bool, meaning: str, *, own_only: bool = False) -> Any:
    return _field(default, Variable(name, "", "on" if default else "off", meaning, "switch", own_only=own_only))


def choice(name: str, choices: tuple[str, ...], meaning: str) -> Any:
    """The first choice is the default."""
    return _field(choices[0], Variable(name, "", choices[0], meaning, "choice", choices=choices))


def text(name: str, default: str, meaning: str, *, own_only: bool = False) -> Any:
    return _field(default, Variable(name, "", default, meaning, own_only=own_only))


def secret(name: str, meaning: str) -> Any:
    return _field("", Variable(name, "", "", meaning, "secret"))


def urls(name: str, default: tuple[str, ...], meaning: str) -> Any:
    return _field(default, Variable(name, "", ",".join(default), meaning, "urls", own_only=True))


def _field(default: object, variable: Variable) -> Any:
    return field(default=default, metadata={"variable": variable})


def variables_of(*parts: type[Any]) -> tuple[Variable, ...]:
    """The variables of settings objects, in the order of their fields."""
    return tuple(replace(one.metadata["variable"], field=one.name) for part in parts for one in fields(part))


def _known(table: Mapping[str, Any], text: str) -> Any:
    if text not in table:
        raise ValueError
    return table[text]


def _address(text: str) -> str:
    """An engine's address without a trailing slash and without `/v1`, which paths add."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError
    _ = parts.port  # raises ValueError where it is no port
    return text.rstrip("/").removesuffix("/v1")


def read_env_file(path: Path) -> dict[str, str]:
    """Lines `NAME=value` (`export` and quotes allowed, `#` starts a comment). A missing file is empty."""
    if not path.exists():
        return {}
    values = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.strip().removeprefix("export ").strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise ConfigError(f"{path}:{number}: expected NAME=value, found {text[:60]!r}")
        values[name.strip()] = _unquoted(value.strip())
    return values


def _unquoted(value: str) -> str:
    if value[:1] in {'"', "'"}:
        end = value.find(value[0], 1)
        return value[1:end] if end > 0 else value
    return value.split(" #", 1)[0].rstrip()


def read_variables(
    variables: Iterable[Variable],
    environment: Mapping[str, str],
    env_file: Mapping[str, str],
    known: Iterable[Variable] | None = None,
) -> dict[str, Any]:
    """Field to value. The environment wins over the file. Raises ConfigError that lists everything wrong.

    `known` are variables of other parts: not read here, but not misspelled either. Without it spelling is not checked.
    """
    variables = tuple(variables)
    problems = []
    if known is not None:
        names = {variable.name for variable in (*variables, *known)}
        problems = [_misspelled(name, names) for name in _suspects(environment, env_file) if name not in names]
    values = {}
    for variable in variables:
        text = environment.get(variable.name, env_file.get(variable.name, ""))
        try:
            values[variable.field] = variable.parse(text if text.strip() else variable.default)
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("; ".join(problems))
    return values


def withheld(variables: Iterable[Variable], env_file: Mapping[str, str]) -> list[str]:
    """Names in a working folder's file that only the user's own places may set, where they would change something."""

    def is_harmless(variable: Variable, given: str) -> bool:
        if given in {"", variable.default}:
            return True
        if variable.kind == "urls":  # an engine on this machine is no stranger's
            return all((urlsplit(part.strip()).hostname or "") in LOOPBACK for part in given.split(","))
        path = PurePath(given)
        return variable.name.endswith("_PATH") and not path.is_absolute() and ".." not in path.parts

    return [one.name for one in variables if one.own_only and not is_harmless(one, env_file.get(one.name, "").strip())]


def _suspects(environment: Mapping[str, str], env_file: Mapping[str, str]) -> list[str]:
    """Names that only we use. ENGINE_* in the environment may belong to others; in our file they are ours."""
    ours = [name for name in environment if name.startswith("LKN_")]
    return sorted({*ours, *(name for name in env_file if name.startswith(("LKN_", "ENGINE_")))})


def _misspelled(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"{name} is not a variable of this program" + (f": did you mean {close[0]}?" if close else "")


def write_env_file(path: Path, values: Mapping[str, str]) -> None:
    """Set variables in the file, each where it stands (comments stay) or at the end. Written whole or not at all."""
    left = dict(values)
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        name = line.strip().removeprefix("export ").partition("=")[0].strip()
        lines.append(f"{name}={left.pop(name)}" if name in left else line)
    lines += [f"{name}={value}" for name, value in left.items()]
    with atomic_write(path) as file:
        file.write(("\n".join(lines) + "\n").encode())
