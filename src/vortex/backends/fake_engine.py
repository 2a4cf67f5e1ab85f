"""An OpenAI-compatible engine without a model, over HTTP: scripted answers, log-probabilities, latency and faults.

What it says is a pure function of the request and its `Script`, so tests and benchmarks can demand exact bytes. Faults
are told per request by `x-fake-fault` (or `Script.fault`), latency by the script. It also runs alone, as
`python -m vortex.backends.fake_engine`. Does not do: sampling, truth.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from vortex.backends.fake_faults import FAULTS, BodyFault

Message = dict[str, Any]


@dataclass(slots=True)
class Script:
    """How the engine behaves. Latencies in milliseconds; `entropy` gives a token's normalised entropy in 0..1."""

    model: str = "fake-model"
    num_tokens: int = 8
    first_token_ms: float = 0.0
    token_ms: float = 0.0
    slots: int = 10_000  # requests served at once; more wait, as a real engine's queue does
    fault: str = ""
    answer: Callable[[Message], str] | None = None
    entropy: Callable[[Message, int], float] | None = None


@dataclass(slots=True)
class Observed:
    """What reached the engine, for tests: bodies in order, totals, and how many requests were cut off."""

    bodies: list[Message] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    active: int = 0


def words_of(body: Message, script: Script) -> list[str]:
    """The scripted answer as tokens with their spaces: an echo of a digest of the messages unless told otherwise."""
    limit = int(body.get("max_tokens") or body.get("max_completion_tokens") or 1_000_000)
    if script.answer is not None:
        parts = script.answer(body).split(" ")
        return [part if index == 0 else f" {part}" for index, part in enumerate(parts)][:limit]
    digest = hashlib.sha256(json.dumps(body.get("messages", body.get("prompt"))).encode()).hexdigest()
    return [f"{' ' if index else ''}{digest[index % 60 : index % 60 + 4]}" for index in range(script.num_tokens)][
        :limit
    ]


def logprobs_of(body: Message, script: Script, index: int, word: str) -> dict[str, Any] | None:
    """OpenAI's shape for one token: `top_logprobs` alternatives whose normalised entropy is the script's."""
    if not body.get("logprobs"):
        return None
    count = max(int(body.get("top_logprobs") or 0), 1)
    target = script.entropy(body, index) if script.entropy else 0.1
    chances = chances_with_entropy(round(target, 3), count)
    entry = [
        {"token": word if rank == 0 else f"alt{rank}", "logprob": math.log(max(chance, 1e-30)), "bytes": None}
        for rank, chance in enumerate(chances)
    ]
    return {"content": [{**entry[0], "top_logprobs": entry if body.get("top_logprobs") else []}]}


@functools.lru_cache(maxsize=4096)
def chances_with_entropy(target: float, count: int) -> list[float]:
    """`count` probabilities, the first one largest, with normalised entropy `target`, found by bisection."""
    if count < 2:
        return [1.0]

    def entropy(first: float) -> float:
        rest = (1 - first) / (count - 1)
        return -sum(p * math.log2(p) for p in (first, *[rest] * (count - 1)) if p > 0) / math.log2(count)

    low, high = 1 / count, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if entropy(middle) > target else (low, middle)
    return [low] + [(1 - low) / (count - 1)] * (count - 1)


class FakeEngine:
    """The engine as an aiohttp application. `url` is known after `start`."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.observed = Observed()
        self.url = ""
        self._slots = asyncio.Semaphore(self.script.slots)
        self._runner: web.AppRunner | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        app = web.Application(client_max_size=1 << 28)
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"):
            app.router.add_post(path, self._answer)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        self.url = f"http://{host}:{self._runner.addresses[0][1]}"
        return self.url

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _models(self, _: web.Request) -> web.Response:
        self.observed.counts["models"] += 1
        card = {"id": self.script.model, "object": "model", "created": 0, "owned_by": "fake"}
        return web.json_response({"object": "list", "data": [card]})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body: Message = await request.json()
        self.observed.bodies.append(body)
        self.observed.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.observed.counts["requests"] += 1
        self.observed.active += 1
        try:
            name = request.headers.get("x-fake-fault") or self.script.fault
            fault = FAULTS[name] if name else BodyFault()
            if fault.instead is not None:
                return await fault.instead(request)
            async with self._slots:
                await asyncio.sleep(self.script.first_token_ms / 1000)
                return await self._serve(request, body, fault)
        except (asyncio.CancelledError, ConnectionError):
            self.observed.counts["cancelled"] += 1
            raise
        finally:
            self.observed.active -= 1

    async def _serve(self, request: web.Request, body: Message, fault: BodyFault) -> web.StreamResponse:
        words = words_of(body, self.script)
        if request.path == "/v1/embeddings":
            data = [{"object": "embedding", "index": 0, "embedding": [0.0, 1.0]}]
            return web.json_response({"object": "list", "model": self.script.model, "data": data})
        if body.get("stream"):
            return await self._stream(request, body, words, fault)
        await asyncio.sleep(self.script.token_ms * max(len(words) - 1, 0) / 1000)
        raw = json.dumps(self._whole(body, words)).encode()
        response = web.StreamResponse(headers={"content-type": "application/json"})
        response.content_length = len(raw)
        await response.prepare(request)
        await fault.write_whole(request, response, raw)
        return response

    async def _stream(
        self, request: web.Request, body: Message, words: list[str], fault: BodyFault
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        events = [self._event(body, {"role": "assistant", "content": ""}, None)]
        events += [
            self._event(body, {"content": word}, None, logprobs_of(body, self.script, index, word))
            for index, word in enumerate(words)
        ]
        events.append(self._event(body, {}, "stop"))
        if (body.get("stream_options") or {}).get("include_usage"):
            events.append(_sse({**self._head("chat.completion.chunk"), "choices": [], "usage": _usage(words)}))
        await fault.write_stream(request, response, [*events, b"data: [DONE]\n\n"], self.script.token_ms / 1000)
        return response

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": "chatcmpl-fake", "object": kind, "created": 0, "model": self.script.model}

    def _event(self, body: Message, delta: Message, finish: str | None, logprobs: Message | None = None) -> bytes:
        choice: Message = {"index": 0, "delta": delta, "finish_reason": finish}
        if body.get("logprobs"):
            choice["logprobs"] = logprobs
        return _sse({**self._head("chat.completion.chunk"), "choices": [choice]})

    def _whole(self, body: Message, words: list[str]) -> dict[str, Any]:
        message = {"role": "assistant", "content": "".join(words)}
        choice: Message = {"index": 0, "message": message, "finish_reason": "stop"}
        tokens = [logprobs_of(body, self.script, index, word) for index, word in enumerate(words)]
        content = [token["content"][0] for token in tokens if token]
        if content:
            choice["logprobs"] = {"content": content}
        return {**self._head("chat.completion"), "choices": [choice], "usage": _usage(words)}


def _sse(value: Message) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def _usage(words: list[str]) -> dict[str, int]:
    return {"prompt_tokens": 1, "completion_tokens": len(words), "total_tokens": 1 + len(words)}


def _careful(body: Message) -> bool:
    return "Think carefully" in str(body.get("messages", [{}])[-1].get("content", ""))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=30000)
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--first-token-ms", type=float, default=0.0)
    parser.add_argument("--token-ms", type=float, default=0.0)
    parser.add_argument("--slots", type=int, default=10_000)
    parser.add_argument("--careful-tokens", type=int, default=0, help="answer length when asked to think carefully")
    options = parser.parse_args()
    script = Script(
        num_tokens=options.tokens,
        first_token_ms=options.first_token_ms,
        token_ms=options.token_ms,
        slots=options.slots,
    )
    if options.careful_tokens:
        script.answer = lambda body: " ".join(["so"] * (options.careful_tokens if _careful(body) else options.tokens))

    async def run() -> None:
        engine = FakeEngine(script)
        print(await engine.start(options.host, options.port), flush=True)
        await asyncio.Event().wait()

    asyncio.run(run())


if __name__ == "__main__":
    main()
