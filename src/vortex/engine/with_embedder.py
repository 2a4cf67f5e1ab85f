"""A chat backend with a second model for embeddings beside it: requests that name it go there, all others pass.

The second model is opened when it is first asked for, and works on a thread of its own; one request at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from vortex.engine.counting import counter_of
from vortex.engine.intake import check_texts
from vortex.protocols import ChatBackend
from vortex.types import BackendStatus, ChatEvent, ChatRequest, Embeddings, ModelCard


class TextEmbedder(Protocol):
    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Raises ContextOverflow."""
        ...

    def embed(self, token_ids: Sequence[Sequence[int]]) -> np.ndarray:
        """[texts, width] float32, each of length 1."""
        ...


class WithEmbedder:
    """A `vortex.protocols.ChatBackend`. Owns `inner` and closes it.

    card: of the second model. open_embedder: raises UnknownModel where it is not on this machine. is_here: whether
    the list of models shows it.
    """

    def __init__(
        self,
        inner: ChatBackend,
        card: ModelCard,
        open_embedder: Callable[[], TextEmbedder],
        is_here: Callable[[], bool] = lambda: True,
    ) -> None:
        self._inner = inner
        self._card = card
        self._open = open_embedder
        self._is_here = is_here
        self._embedder: TextEmbedder | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="vortex-embed")

    async def models(self) -> Sequence[ModelCard]:
        return [*await self._inner.models(), *([self._card] if self._is_here() else [])]

    def chat(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        return self._inner.chat(request)

    async def embed(self, texts: Sequence[str], model: str | None = None) -> Embeddings:
        """Raises what the inner backend raises, UnknownModel, RequestError, ContextOverflow."""
        if model != self._card.name:
            return await self._inner.embed(texts, model)
        check_texts(texts)
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._embed, texts)

    async def prompt_token_ids(self, request: ChatRequest) -> Sequence[int]:
        """As `TokenCounter` says, where the inner backend is one; else MissingCapability."""
        return await counter_of(self._inner).prompt_token_ids(request)

    async def tokenize(self, text: str, *, special: bool = False, model: str | None = None) -> Sequence[int]:
        return await counter_of(self._inner).tokenize(text, special=special, model=model)

    async def detokenize(self, token_ids: Sequence[int], model: str | None = None) -> str:
        return await counter_of(self._inner).detokenize(token_ids, model)

    async def status(self) -> BackendStatus:
        return await self._inner.status()

    async def close(self) -> None:
        self._worker.shutdown(wait=True, cancel_futures=True)
        await self._inner.close()

    def _embed(self, texts: Sequence[str]) -> Embeddings:
        embedder = self._embedder = self._embedder or self._open()
        token_ids = embedder.encode(texts)
        return Embeddings(vectors=embedder.embed(token_ids), prompt_tokens=sum(map(len, token_ids)))
