"""A model in this process as a ChatBackend: requests in, events out, the sweep loop behind.

Runs on any asyncio loop; the loop only waits, tokenizes and passes events on. Closing an answer's iterator cancels it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar

import numpy as np

from vortex.adapters.shelf import AdapterShelf, Chosen
from vortex.engine.embedding import Embedding
from vortex.engine.engine import Engine
from vortex.engine.given_text import GivenTexts, carrying
from vortex.engine.intake import AnswerRules, Intake, check_texts, wants_structure
from vortex.engine.mailbox import Mailbox
from vortex.engine.options import EngineOptions
from vortex.errors import UnknownModel
from vortex.protocols import ChatFormat, LanguageModel, Tokenizer
from vortex.types import (
    Adapter,
    BackendStatus,
    ChatEvent,
    ChatRequest,
    ChoiceFinished,
    Completed,
    Embeddings,
    GivenText,
    ModelCard,
    Rival,
    RivalSearch,
    Started,
    TextDelta,
)

Argument = TypeVar("Argument")
Result = TypeVar("Result")

_LONG_TEXT_CHARS = 8192  # tokenized off the loop, so that other answers keep flowing


class LocalBackend:
    """A `vortex.protocols.ChatBackend`. Owns the model and closes it; make it, and close it, once.

    adapters: what else requests may name; None: the model alone.
    drain_s: how long `close` lets running answers finish.
    """

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        chat_format: ChatFormat,
        card: ModelCard,
        options: EngineOptions | None = None,
        *,
        rules: AnswerRules | None = None,
        adapters: AdapterShelf | None = None,
    ) -> None:
        options, rules = options or EngineOptions(), rules or AnswerRules()
        vocab_size = min(model.vocab_size, tokenizer.vocab_size)
        context_length = _shorter(model.context_length, options.context_tokens or None)
        self._card = ModelCard(
            name=card.name,
            context_length=context_length,
            created=card.created,
            licence=card.licence,
            origin=card.origin,
            abilities=card.abilities,
        )
        self._options = options
        self._tokenizer = tokenizer
        self._adapters = adapters
        self._slow_in_flight = 0
        self._intake = Intake(
            tokenizer,
            chat_format,
            options,
            vocab_size=vocab_size,
            context_length=context_length,
            rules=rules,
        )
        self._given = GivenTexts(
            tokenizer,
            chat_format,
            vocab_size=vocab_size,
            context_length=context_length,
            chunk=model.prefill_chunk,
        )
        self._engine = Engine(model, options, vocab_size)

    @property
    def card(self) -> ModelCard:
        """Of the model alone."""
        return self._card

    async def models(self) -> Sequence[ModelCard]:
        names = await asyncio.to_thread(self._adapters.names) if self._adapters else ()
        return [self._card, *(replace(self._card, name=name, parent=self._card.name) for name in names)]

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        """Started, deltas, a ChoiceFinished per choice, Completed. Raises before the first event RequestError and its
        kin, and Overloaded; after it BackendError where the model fails."""
        with await self._chosen(request.model) as chosen:
            async with aclosing(self._answered(request, chosen)) as events:
                async for event in events:
                    yield event

    async def _answered(self, request: ChatRequest, chosen: Chosen) -> AsyncGenerator[ChatEvent, None]:
        size_chars = sum(len(message.content) for message in request.messages) + len(request.prompt or "")
        # a template is foreign code, and a schema has to be compiled: neither runs on the loop
        is_slow = size_chars > _LONG_TEXT_CHARS or request.prompt is None or wants_structure(request)
        prepared = await self._prepared(is_slow, self._intake.prepare, request)
        box: Mailbox[ChatEvent] = Mailbox()
        reader = prepared.reader
        self._engine.submit(self._intake.generation(prepared, box, chosen.adapter))
        try:
            yield Started(
                request_id=request.request_id,
                model=chosen.name,
                seed=prepared.seed,
                adapter=chosen.adapter.hash if chosen.adapter else None,
                notes=prepared.notes,
                prompt_tokens=len(prepared.prompt_ids),
            )
            async for event in box:
                if reader is None:
                    yield event
                elif isinstance(event, TextDelta | ChoiceFinished):
                    for read in reader.read(event):
                        yield read
                elif isinstance(event, Completed) and reader.reasoning_tokens:
                    yield replace(event, usage=replace(event.usage, reasoning_tokens=reader.reasoning_tokens))
                else:
                    yield event
        finally:
            box.abandon()  # harmless where all was read; else the request leaves by the next sweep

    async def embed(self, texts: Sequence[str], model: str | None = None) -> Embeddings:
        """Raises RequestError, ContextOverflow, Overloaded, MissingCapability."""
        check_texts(texts)
        is_slow = sum(map(len, texts)) > _LONG_TEXT_CHARS
        vectors: list[np.ndarray] = []
        with await self._chosen(model) as chosen:
            prompts = await self._prepared(is_slow, self._prompts, texts)
            for start in range(0, len(prompts), self._options.max_slots):  # a long list must not fill the line
                group = prompts[start : start + self._options.max_slots]
                vectors += await asyncio.gather(*(self._vector(prompt, chosen.adapter) for prompt in group))
        return Embeddings(vectors=np.stack(vectors), prompt_tokens=sum(map(len, prompts)))

    async def prompt_token_ids(self, request: ChatRequest) -> Sequence[int]:
        """As `TokenCounter` says."""
        return await self._prepared(True, self._intake.prompt_ids, request)

    async def tokenize(self, text: str, *, special: bool = False, model: str | None = None) -> Sequence[int]:
        return await self._prepared(True, lambda text: self._tokenizer.encode(text, special=special), text)

    async def detokenize(self, token_ids: Sequence[int], model: str | None = None) -> str:
        """Raises RequestError for an id that the model does not have."""
        return await self._prepared(True, self._intake.text_of, token_ids)

    async def rivals(self, given: GivenText, search: RivalSearch) -> Sequence[Rival]:
        """As `GivenTextReader` says."""
        reading = await self._prepared(True, self._given.read, given)
        with await self._chosen(None) as chosen:
            adapter = chosen.adapter
            asked = self._engine.visit(lambda model: carrying(self._given.rivals(model, reading, search), adapter))
            found: list[Rival] = await asyncio.wrap_future(asked)
        return found

    async def log_probabilities(self, given: GivenText, others: Sequence[str]) -> Sequence[float]:
        """As `GivenTextReader` says."""
        reading = await self._prepared(True, self._given.read, given)
        readings = await self._prepared(True, lambda texts: [self._given.read(given, text) for text in texts], others)
        with await self._chosen(None) as chosen:
            adapter = chosen.adapter
            asked = self._engine.visit(
                lambda model: carrying(self._given.log_probabilities(model, reading, readings), adapter)
            )
            sums: list[float] = await asyncio.wrap_future(asked)
        return sums

    async def status(self) -> BackendStatus:
        status = self._engine.status()
        if self._adapters is None:
            return status
        return replace(status, counters={**status.counters, **self._adapters.bank.counters()})

    async def close(self, drain_s: float = 0.0) -> None:
        """Refuse new requests, let running ones finish for at most `drain_s` seconds, free the model."""
        await asyncio.to_thread(self._engine.close, drain_s)

    async def _prepared(self, is_slow: bool, function: Callable[[Argument], Result], argument: Argument) -> Result:
        """What is slow runs on another thread; and while it does, so does the rest: tokenizers have a lock."""
        if not is_slow and not self._slow_in_flight:
            return function(argument)
        self._slow_in_flight += 1
        try:
            return await asyncio.to_thread(function, argument)
        finally:
            self._slow_in_flight -= 1

    def _prompts(self, texts: Sequence[str]) -> list[list[int]]:
        prompts = [self._intake.text_ids(text) for text in texts]
        self._intake.check_fits(max(map(len, prompts)), "input")
        return prompts

    async def _vector(self, prompt_ids: list[int], adapter: Adapter | None) -> np.ndarray:
        box: Mailbox[np.ndarray] = Mailbox()
        self._engine.submit(Embedding(prompt_ids, box, adapter))
        try:
            return await anext(box)
        finally:
            box.abandon()

    async def _chosen(self, name: str | None) -> Chosen:
        """What the name means now. An adapter may have to be read from disk: the loop does not wait for that."""
        if name == self._card.name or (name is None and self._adapters is None):
            return Chosen(self._card.name)
        if self._adapters is None:
            raise UnknownModel(f"model '{name}' is not served here; this backend serves '{self._card.name}'")
        choosing = asyncio.ensure_future(asyncio.to_thread(self._adapters.choose, name))
        try:
            return await asyncio.shield(choosing)
        except asyncio.CancelledError:  # a thread cannot be stopped: what it still brings is given back
            choosing.add_done_callback(_give_back)
            raise


def _give_back(choosing: asyncio.Future[Chosen]) -> None:
    if not choosing.cancelled() and choosing.exception() is None:
        choosing.result().release()


def _shorter(*lengths: int | None) -> int | None:
    return min((length for length in lengths if length is not None), default=None)
