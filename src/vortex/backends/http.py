"""A ChatBackend over an OpenAI-compatible endpoint (Vortex, llama-server, vLLM, SGLang, Ollama, OpenAI itself).

Promises: closing an answer's iterator closes the connection, which is how engines learn of a cancellation; nothing is
retried once an answer has begun; no redirects, no proxies from the environment; every failure is a VortexError.
Does not do: balancing or retries (the gateway does).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import numpy as np
import orjson

from vortex.backends.openai_wire import ChunkReader, request_body
from vortex.backends.sse import SseParser
from vortex.errors import BackendError, ContextOverflow, Overloaded, RequestError, UnknownModel, VortexError
from vortex.types import BackendStatus, ChatEvent, ChatRequest, Embeddings, ModelCard

ERROR_BODY_LIMIT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds to wait: for a connection, and for the next bytes of an answer (the first ones included)."""

    connect_s: float = 5.0
    silence_s: float = 300.0


class HttpBackend:
    """`base_url` with or without `/v1`. The connection pool opens with the first call; close the backend after use."""

    def __init__(self, base_url: str, *, api_key: str | None = None, patience: Patience | None = None) -> None:
        self._root = base_url.rstrip("/").removesuffix("/v1")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        patience = patience or Patience()
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=patience.connect_s, sock_read=patience.silence_s)
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                timeout=self._timeout,
                headers=self._headers,
                trust_env=False,
                connector=aiohttp.TCPConnector(limit=0),
                json_serialize=lambda value: orjson.dumps(value).decode(),
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def models(self) -> Sequence[ModelCard]:
        listed = await self._json("GET", "/v1/models")
        return [
            ModelCard(
                name=entry["id"],
                created=entry.get("created") or 0,
                context_length=entry.get("context_length") or entry.get("max_model_len"),
                licence=entry.get("licence"),
                origin=entry.get("owned_by"),
            )
            for entry in listed.get("data", [])
        ]

    async def embed(self, texts: Sequence[str], model: str | None = None) -> Embeddings:
        if model is None:
            model = (await self.models())[0].name
        answer = await self._json("POST", "/v1/embeddings", {"model": model, "input": list(texts)})
        rows = sorted(answer["data"], key=lambda row: row["index"])
        vectors = np.array([row["embedding"] for row in rows], dtype=np.float32)
        return Embeddings(vectors=vectors, prompt_tokens=answer.get("usage", {}).get("prompt_tokens", 0))

    async def status(self) -> BackendStatus:
        try:
            await self.models()
        except VortexError:
            return BackendStatus(ready=False)
        return BackendStatus(ready=True)

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        body = request_body(request)
        if request.model is None:
            body["model"] = (await self.models())[0].name
        path = "/v1/completions" if request.prompt is not None else "/v1/chat/completions"
        reader, parser = ChunkReader(request), SseParser()
        try:
            async with self._open().post(
                self._root + path, json=body, headers={"x-request-id": request.request_id}, allow_redirects=False
            ) as response:
                await _raise_for_status(response)
                async for chunk in response.content.iter_any():
                    for data in parser.feed(chunk):
                        if data == b"[DONE]":
                            yield reader.finish()
                            return
                        for event in reader.read(_decode(data)):
                            yield event
                yield reader.finish()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from error

    async def _json(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            async with self._open().request(method, self._root + path, json=body, allow_redirects=False) as response:
                await _raise_for_status(response)
                return _decode(await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> BackendError:
        if isinstance(error, aiohttp.ClientConnectorError):
            return BackendError(f"nothing answers at {self._root}; start the engine there or give another address")
        if isinstance(error, TimeoutError | asyncio.TimeoutError):
            return BackendError(f"the engine at {self._root} went silent; it may be overloaded or stuck")
        return BackendError(f"the connection to {self._root} broke: {type(error).__name__}: {error}")


def _decode(data: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BackendError(f"the engine answered with something that is not JSON: {data[:80]!r}") from error
    if not isinstance(value, dict):
        raise BackendError(f"the engine answered with {type(value).__name__} where an object belongs")
    return value


async def _raise_for_status(response: aiohttp.ClientResponse) -> None:
    if response.status < 300:
        return
    text = (await response.content.read(ERROR_BODY_LIMIT_BYTES)).decode(errors="replace")
    error = _error_field(text)
    message = str(error.get("message") or text[:200] or response.reason)
    code, param, status = error.get("code"), error.get("param"), response.status
    if status == 429:
        raise Overloaded(message, retry_after_s=_retry_after_s(response))
    if code == "model_not_found":
        raise UnknownModel(message)
    if code == "context_length_exceeded":
        raise ContextOverflow(message, param=param)
    if status in (400, 413, 422):
        raise RequestError(message, param=param, code=code if isinstance(code, str) else None)
    raise BackendError(f"the engine answered {status}: {message}", status=status)


def _error_field(text: str) -> dict[str, Any]:
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {}


def _retry_after_s(response: aiohttp.ClientResponse) -> float:
    try:
        return float(response.headers.get("Retry-After", "1"))
    except ValueError:  # a date: nobody needs to wait that exactly
        return 1.0
