"""The contracts in the middle of the house. They speak numpy and plain values; nothing here knows torch.

`LanguageModel`: one sweep over the weights serves any mix of spans. `ChatBackend`: requests in, events out;
the only way the server, the agent and learning see a model; `GivenTextReader` beside it, where the model is in this
process: what it thinks of a text that it is given. `Tokenizer`: text to ids and back, and nothing lost.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from vortex.types import (
    BackendStatus,
    ChatEvent,
    ChatMessage,
    ChatRequest,
    Embeddings,
    Exactness,
    GivenText,
    ModelCard,
    ModelPlace,
    Rival,
    RivalSearch,
    SequenceState,
    Span,
    SweepCost,
    SweepOutput,
    ToolSpec,
)


class LanguageModel(Protocol):
    @property
    def vocab_size(self) -> int: ...

    @property
    def context_length(self) -> int | None:
        """Most tokens a sequence may hold; None: unbounded."""
        ...

    @property
    def exactness(self) -> Exactness: ...

    @property
    def prefill_chunk(self) -> int:
        """Prompt tokens per sweep. Prompts are cut at multiples of it counted from position 0, and only whole
        chunks are reused by another request, so that a reused prefix and a cold one are the same computation."""
        ...

    @property
    def draft_heads(self) -> int:
        """Further heads that guess ahead, of which `SweepOutput.draft_logits` has rows; 0: none."""
        ...

    def new_state(self) -> SequenceState: ...

    def sweep(self, spans: Sequence[Span]) -> SweepOutput:
        """One pass over the weights for all spans. Every span's state must then be committed."""
        ...

    def sweep_cost(self, spans: Sequence[Span]) -> SweepCost: ...

    def close(self) -> None: ...


@runtime_checkable
class Counting(Protocol):
    """A model that counts what it does; the engine shows it in its status."""

    def counters(self) -> Mapping[str, float]:
        """Totals since the start, from any thread."""
        ...


@runtime_checkable
class KeepsStates(Protocol):
    """A model whose states can be written down and read back, bit for bit."""

    @property
    def state_form(self) -> str:
        """Changes whenever the arrays mean something else, or would be computed with other bits."""
        ...

    def state_arrays(self, state: SequenceState) -> Sequence[np.ndarray]:
        """All that the state remembers of its committed tokens, and no more."""
        ...

    def state_of(self, length: int, arrays: Sequence[np.ndarray]) -> SequenceState:
        """A new state of `length` committed tokens; the arrays are copied. Raises ValueError for arrays of other
        shapes."""
        ...


@runtime_checkable
class TakesAdapters(Protocol):
    """A model whose spans may carry an adapter."""

    def adapter_targets(self) -> Mapping[str, tuple[int, int]]:
        """Linear layers that an adapter may change, named as in transformers: (rows, columns)."""
        ...


class StreamDecoder(Protocol):
    """Ids to text, a token at a time, never half a character."""

    def push(self, token_id: int) -> str: ...

    def flush(self) -> str:
        """What is left; incomplete bytes become U+FFFD."""
        ...


class Tokenizer(Protocol):
    @property
    def vocab_size(self) -> int: ...

    @property
    def end_ids(self) -> frozenset[int]:
        """Ids that end an answer (end of sequence, end of turn)."""
        ...

    def encode(self, text: str, *, special: bool = False, add_bos: bool = False) -> list[int]:
        """With `special`, special tokens written in the text become their ids; else they are plain text."""
        ...

    def decode(self, token_ids: Sequence[int], *, special: bool = False) -> str:
        """With `special`, special tokens are spelled out; else they vanish."""
        ...

    def token_bytes(self, token_id: int) -> bytes: ...

    def stream_decoder(self, shown: frozenset[int] = frozenset()) -> StreamDecoder:
        """shown: control tokens that are spelled out, where their places in an answer mean something."""
        ...


class ChatFormat(Protocol):
    """A model's way to write a conversation as tokens."""

    def encode(self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec] = (), **options: object) -> list[int]:
        """Ends with the opening of the assistant's turn. Special tokens inside contents stay plain text."""
        ...


class ChatBackend(Protocol):
    async def models(self) -> Sequence[ModelCard]: ...

    def chat(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        """Started, deltas, a ChoiceFinished per choice, Completed. Closing the iterator cancels the request.

        Raises RequestError before the first event where a request cannot be served, Overloaded where the queue is full.
        """
        ...

    async def embed(self, texts: Sequence[str], model: str | None = None) -> Embeddings: ...

    async def status(self) -> BackendStatus: ...

    async def close(self) -> None: ...


class ManagesModels(Protocol):
    """Whoever holds several models and opens and closes them."""

    async def places(self) -> Sequence[ModelPlace]:
        """All that may be asked for, the one that answers requests without a name first."""
        ...

    async def unload(self, name: str) -> None:
        """Close an idle model and give its memory back. Raises UnknownModel where it is not open, RequestError while it
        answers."""
        ...


@runtime_checkable
class TokenCounter(Protocol):
    """A backend that knows its model's tokens."""

    async def prompt_token_ids(self, request: ChatRequest) -> Sequence[int]:
        """The request's prompt as the model would read it. Raises RequestError and its kin."""
        ...

    async def tokenize(self, text: str, *, special: bool = False, model: str | None = None) -> Sequence[int]: ...

    async def detokenize(self, token_ids: Sequence[int], model: str | None = None) -> str: ...


@runtime_checkable
class GivenTextReader(Protocol):
    """A model that reads a text as if it were its own answer, and says where it would have written another."""

    async def rivals(self, given: GivenText, search: RivalSearch) -> Sequence[Rival]:
        """The text is swept once; where another token costs least the model goes on from it, greedily, to the end of
        the line, all branches in the same sweeps. Least cost first; ties by place. Raises RequestError and its kin."""
        ...

    async def log_probabilities(self, given: GivenText, others: Sequence[str]) -> Sequence[float]:
        """Of the given text, then of each other in its place: natural logarithms, summed over its tokens. What texts
        begin with in common is swept once."""
        ...
