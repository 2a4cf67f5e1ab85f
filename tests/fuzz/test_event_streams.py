"""An engine's stream of events, changed and cut at random: events, or a BackendError."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from typing import Any

import pytest

from tests.fuzz.cases import mutated, rounds, within
from vortex.backends.openai_wire import ChunkReader
from vortex.backends.sse import SseParser
from vortex.errors import BackendError
from vortex.types import ChatRequest

TOKEN = {"token": "a", "token_id": 1, "logprob": -0.5, "bytes": [97], "top_logprobs": []}
CALL = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
CHUNKS: list[dict[str, Any]] = [
    {"id": "x", "model": "m", "seed": 1, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
    {"choices": [{"index": 0, "delta": {"content": "hi"}, "logprobs": {"content": [TOKEN]}}]},
    {"choices": [{"index": 0, "delta": {"tool_calls": [CALL]}}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}, "timings": {"queue_ms": 1.0}},
]


def check(seed: int) -> None:
    draw = random.Random(seed)
    chunks = mutated(CHUNKS, draw)
    frames = [b"data: " + json.dumps(chunk).encode() for chunk in (chunks if isinstance(chunks, list) else [chunks])]
    data = draw.choice((b"\n\n", b"\r\n\r\n")).join([*frames, b"data: [DONE]", b""])
    if draw.random() < 0.3:
        at = draw.randrange(len(data) or 1)
        data = data[:at] + draw.choice((b"\n", b"\xff\xfe", b": note\n", b"data:", b"\x00")) + data[at:]
    parser, reader = SseParser(), ChunkReader(ChatRequest(request_id="r", prompt="p"))
    with within(10, seed), suppress(BackendError):
        for start in range(0, len(data), step := draw.choice((1, 7, 4096))):
            for event in parser.feed(data[start : start + step]):
                if event != b"[DONE]":
                    list(reader.read(_decoded(event)))
        reader.finish()


def _decoded(event: bytes) -> Any:
    try:
        return json.loads(event)
    except ValueError as error:
        raise BackendError("not JSON") from error


def test_no_stream_is_more_than_a_failure_of_the_engine() -> None:
    for seed in rounds(1500):
        check(seed)


@pytest.mark.long
def test_no_stream_is_more_than_a_failure_of_the_engine_for_longer() -> None:
    for seed in rounds(60_000):
        check(seed)
