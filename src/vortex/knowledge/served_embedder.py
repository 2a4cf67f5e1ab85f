"""An embedder behind a wire: any model that a server offers at `/v1/embeddings`, this program's own server or another.

Promises unit vectors in the order of the texts, whatever lengths the server gives; a text longer than its model reads
is cut at spaces and its parts' vectors are averaged by length. The name holds model, address and width, so that vectors
of different models never meet. Does not keep a connection: one for each batch. What is embedded is sent to that server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from vortex.errors import BackendError, ContextOverflow, RequestError

if TYPE_CHECKING:
    from vortex.backends.http import HttpBackend

BATCH_TEXTS = 32
LEAST_CHARS = 32  # a text that is too long even so is the server's fault


class ServedEmbedder:
    """An `Embedder` over HTTP. Raises BackendError where the server is not there or offers no such model."""

    def __init__(self, url: str, model: str, *, api_key: str | None = None) -> None:
        self._url, self._model, self._api_key = url, model, api_key
        self._width = self._ask(["x"]).shape[1]

    @property
    def name(self) -> str:
        return f"{self._model}@{self._url}, {self._width} wide"

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        rows = np.empty((len(texts), self._width), np.float32)
        for start in range(0, len(texts), BATCH_TEXTS):
            batch = texts[start : start + BATCH_TEXTS]
            try:
                rows[start : start + len(batch)] = self._ask(batch)
            except ContextOverflow:
                for place, text in enumerate(batch, start):
                    rows[place] = self._of_one(text)
        return rows

    def _of_one(self, text: str) -> np.ndarray:
        try:
            return np.asarray(self._ask([text])[0])
        except ContextOverflow:
            if len(text) < LEAST_CHARS:
                raise
        middle = text.rfind(" ", 1, len(text) // 2)
        middle = middle if middle > 0 else len(text) // 2
        parts = (text[:middle], text[middle:])
        return _unit(np.sum([self._of_one(part) * len(part) for part in parts], axis=0)[None])[0]

    def _ask(self, texts: Sequence[str]) -> np.ndarray:
        with ThreadPoolExecutor(1) as apart:  # a caller may have a loop of its own on this thread
            return apart.submit(lambda: asyncio.run(self._request(texts))).result()

    async def _request(self, texts: Sequence[str]) -> np.ndarray:
        from vortex.backends.http import HttpBackend

        backend: HttpBackend = HttpBackend(self._url, api_key=self._api_key)
        try:
            found = await backend.embed([text or " " for text in texts], self._model)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise BackendError(f"{self._url} does not answer as a server of embeddings does ({error!r})") from error
        except RequestError as error:
            if _says_too_long(str(error)):
                raise ContextOverflow(str(error)) from error
            raise
        finally:
            await backend.close()
        vectors = np.asarray(found.vectors, np.float32)
        if vectors.shape != (len(texts), getattr(self, "_width", vectors.shape[-1])) or not np.isfinite(vectors).all():
            raise BackendError(f"{self._url} answered {len(texts)} texts with vectors of shape {vectors.shape}")
        return _unit(vectors)


def _says_too_long(text: str) -> bool:
    """Servers have words of their own for a text that is too long."""
    told = text.lower()
    return "token" in told and any(word in told for word in ("maximum", "exceed", "too long", "limit", "context"))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
