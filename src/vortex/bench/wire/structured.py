"""`vortex bench structured`: answers that must fit a schema, and tool calls, all of them checked by jsonschema.

Half the answers get so few tokens that the structure has to be closed for the model. Seeds differ, temperature is 1:
a small model on its own would fail many of them.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, cast

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.errors import MissingCapability
from vortex.protocols import ChatBackend
from vortex.types import ChatEvent, ChatMessage, ChatRequest, SamplingOptions, TextDelta, ToolCallDelta, ToolSpec

AT_ONCE = 8
QUESTION = "Invent something that fits, and answer in JSON."


@dataclass(frozen=True, slots=True)
class StructuredMeasurement:
    """Every schema is used in turn, both as a response format and as the parameters of a tool."""

    backend: ChatBackend
    runner: asyncio.Runner
    num_answers: int = 500
    num_calls: int = 200
    limits_tokens: tuple[int, int] = (160, 64)  # in turn: room enough, and so little that structures must be closed

    def check(self) -> None:
        """The checker must be there, and must refuse what is wrong."""
        schema = {"type": "object", "required": ["a"]}
        if _fits({}, schema) or not _fits({"a": 1}, schema):
            raise CheckFailed("jsonschema does not tell right from wrong")

    def measure(self) -> Report:
        schemas = load_schemas()
        rows: list[list[str]] = []
        figures: dict[str, object] = {}
        for kind, number in (("answers", self.num_answers), ("calls", self.num_calls)):
            started = time.perf_counter()
            found = self.runner.run(self._all(kind, number, schemas))
            elapsed_s = time.perf_counter() - started
            rows.append([kind, str(number), str(sum(found)), f"{elapsed_s:.1f}"])
            figures |= {kind: number, f"valid_{kind}": sum(found), f"{kind}_s": round(elapsed_s, 1)}
        columns = ["what", "asked", "valid", "seconds"]
        figures["schemas"] = len(schemas)
        return Report("structured", "structured output, checked by jsonschema", columns, rows, figures)

    async def _all(self, kind: str, number: int, schemas: Sequence[Mapping[str, Any]]) -> list[bool]:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(index: int) -> bool:
            async with gate:
                schema = schemas[index % len(schemas)]
                max_tokens = self.limits_tokens[index % 2]
                return _fits(await self._ask(_request(kind, index, schema, max_tokens)), schema)

        return list(await asyncio.gather(*(one(index) for index in range(number))))

    async def _ask(self, request: ChatRequest) -> Any:
        """The answer's JSON, or a call's arguments; None where they are no JSON."""
        pieces = []
        events = cast("AsyncGenerator[ChatEvent, None]", self.backend.chat(request))
        async with aclosing(events):
            async for event in events:
                if isinstance(event, ToolCallDelta):
                    pieces.append(event.arguments)
                elif isinstance(event, TextDelta) and not request.tools:
                    pieces.append(event.text)
        try:
            return json.loads("".join(pieces))
        except ValueError:
            return None


def load_schemas() -> list[dict[str, Any]]:
    """Twenty schemas as applications write them: flat, nested, lists, enums, unions, recursion, patterns, numbers."""
    text = files("vortex.bench").joinpath("data", "schemas.json").read_text(encoding="utf-8")
    schemas: list[dict[str, Any]] = json.loads(text)
    return schemas


def _request(kind: str, index: int, schema: Mapping[str, Any], max_tokens: int) -> ChatRequest:
    calls = kind == "calls"
    return ChatRequest(
        request_id=f"{kind}-{index}",
        messages=(ChatMessage(role="user", content=f"{QUESTION} ({index})"),),
        sampling=SamplingOptions(temperature=1.0, seed=index),
        max_tokens=max_tokens,
        tools=(ToolSpec(name="keep", parameters=schema),) if calls else (),
        tool_choice="required" if calls else "auto",
        parallel_tool_calls=False,
        json_schema=None if calls else schema,
    )


def _fits(value: Any, schema: Mapping[str, Any]) -> bool:
    try:
        import jsonschema
    except ImportError as error:
        raise MissingCapability("checking needs jsonschema: pip install jsonschema") from error
    try:
        jsonschema.validate(value, schema)
    except jsonschema.ValidationError:
        return False
    return True
