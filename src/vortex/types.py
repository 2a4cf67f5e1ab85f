"""Values that rooms hand to each other: what is asked of a model, what is swept, what comes back.

Plain dataclasses over numpy and the standard library. No behaviour beyond what a value knows of itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, Protocol

import numpy as np

# --- sweeps ----------------------------------------------------------------------------------------------------------


class SequenceState(Protocol):
    """What a model remembers of one sequence: a KV cache, or a recurrent state."""

    @property
    def length(self) -> int:
        """Committed tokens."""
        ...

    @property
    def resident_bytes(self) -> int: ...

    def commit(self, num_tokens: int) -> None:
        """Keep the first `num_tokens` of the last swept span, drop the rest. Called once after every sweep."""
        ...

    def snapshot(self) -> SequenceState:
        """An independent state of the same committed tokens. Cheap: a shared prefix, or a copied recurrent state."""
        ...

    def close(self) -> None:
        """Give the memory back. Closing twice is harmless."""
        ...


class Exactness(StrEnum):
    """How well a model keeps the law: the logits of position t depend on tokens 0..t alone."""

    BITWISE = "bitwise"  # the same bits for any chunking, batch, thread count, paging
    ARGMAX = "argmax"  # rounding differs between shapes; a fixed schedule gives the same bits
    DISTRIBUTION = "distribution"  # only statistically the same


class Want(Enum):
    """Which rows of a span are returned, and as what."""

    NOTHING = "nothing"
    LAST_LOGITS = "last_logits"
    ALL_LOGITS = "all_logits"
    ALL_HIDDEN = "all_hidden"


@dataclass(frozen=True, slots=True)
class LowRank:
    """What an adapter adds to one linear layer: y += scale * b (a x).

    a: [rank, columns], b: [rows, rank], C-contiguous, of one dtype: float32, float16, or bfloat16 as its bits (uint16).
    """

    a: np.ndarray
    b: np.ndarray
    scale: float

    @property
    def rank(self) -> int:
        return len(self.a)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the layer that it belongs to."""
        return len(self.b), self.a.shape[1]

    @property
    def num_bytes(self) -> int:
        return self.a.nbytes + self.b.nbytes

    def dense(self) -> tuple[np.ndarray, np.ndarray]:
        """a and b in float32, exactly."""
        return _float32(self.a), _float32(self.b)


def _float32(values: np.ndarray) -> np.ndarray:
    if values.dtype == np.uint16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32, copy=False)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Adapter:
    """A LoRA in memory, checked against a model. Two with one hash answer alike.

    hash: `sha256:` and 64 digits, over everything in it that can change an answer.
    parts: by linear layer, named as the model's `adapter_targets` names them.
    """

    hash: str
    parts: Mapping[str, LowRank]

    @property
    def num_bytes(self) -> int:
        return sum(part.num_bytes for part in self.parts.values())


def hash_of(adapter: Adapter | None) -> str:
    """What keeps apart all that was computed with different adapters; empty for the model alone."""
    return "" if adapter is None else adapter.hash


@dataclass(frozen=True, slots=True)
class Span:
    """Some consecutive tokens of one sequence: a decoded token, a drafted block, a chunk of a prompt.

    adapter: all spans of one sequence carry the same one (what a state remembers was computed with it).
    """

    state: SequenceState
    token_ids: Sequence[int]
    want: Want = Want.LAST_LOGITS
    adapter: Adapter | None = None


class RowLookup(Protocol):
    """Rows by their numbers: an array, or what computes one when asked."""

    def __getitem__(self, row: int, /) -> np.ndarray: ...


@dataclass(frozen=True, slots=True)
class SweepOutput:
    """Rows of all spans in order; `logits_rows[i]` and `hidden_rows[i]` are those of span i (maybe empty).

    logits: [wanted, vocab] float32. hidden: [wanted, width] float32 after the last norm, or None.
    draft_logits: by row beside `logits` (same rows), [heads, vocab] float32 where a model has further heads that guess
    ahead, or None; head k guesses the token k + 2 places behind the row's. A row may be computed when it is asked for.
    """

    logits: np.ndarray
    logits_rows: tuple[slice, ...]
    hidden: np.ndarray | None = None
    hidden_rows: tuple[slice, ...] = ()
    draft_logits: RowLookup | None = None


@dataclass(frozen=True, slots=True)
class SweepCost:
    """What one sweep would cost: bytes fetched from slower storage, bytes read from memory, arithmetic operations; and
    the seconds it would take, as learned from sweeps like it (None: nothing is known yet)."""

    bytes_to_fetch: int
    bytes_to_read: int
    flops: int
    seconds: float | None = None


# --- what is asked ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions:
    """How a token is chosen from logits. Temperature 0 is greedy. Ties go to the lowest id."""

    temperature: float = 0.0
    top_k: int = 0  # 0: no limit
    top_p: float = 1.0
    top_p_min_k: int = 1  # adaptive k: nucleus sampling keeps at least ...
    top_p_max_k: int = 0  # ... and at most this many candidates (0: no limit)
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    penalty_window: int = 64  # the last tokens that penalties look at; 0: all of them
    penalty_reads_prompt: bool = True  # False: penalties look at the answer alone
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None  # None: drawn, and reported back


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    id: str
    name: str
    arguments: str  # JSON text


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    role: str  # system | user | assistant | tool
    content: str = ""
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    reasoning: str = ""  # what the assistant thought before it answered


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)  # JSON schema
    strict: bool = False  # a schema that cannot be enforced whole is refused, not weakened


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One request to a model: a conversation, or (for plain completion) a prompt as text or token ids.

    Exactly one of `messages` and `prompt` is given. `max_tokens` None or -1 means: up to the context's end
    or the profile's limit, whichever is smaller. `thinking_tokens` None: the model thinks as long as it likes.
    """

    request_id: str
    model: str | None = None
    messages: tuple[ChatMessage, ...] = ()
    prompt: str | tuple[int, ...] | None = None
    echo: bool = False  # the answer begins with the prompt, and with its log-probabilities where they are asked for
    suffix: str | None = None  # what follows the gap that the answer fills; `prompt` is then text
    sampling: SamplingOptions = SamplingOptions()
    max_tokens: int | None = None
    min_tokens: int = 0
    ignore_eos: bool = False
    stop: tuple[str, ...] = ()
    num_choices: int = 1
    top_logprobs: int | None = None  # None: no log-probabilities; 0: of the chosen token alone
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str = "auto"  # auto | none | required | the name of a tool
    parallel_tool_calls: bool = True
    json_schema: Mapping[str, Any] | None = None  # {} accepts any JSON object
    strict_schema: bool = True  # one that cannot be enforced whole is refused; else what can be is, and the rest said
    template_options: Mapping[str, Any] = field(default_factory=dict)  # enable_thinking, reasoning_effort, …
    thinking_tokens: int | None = None  # after so many the thinking part is ended and the answer begins


# --- what comes back -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenText:
    """A text that a model is led to take for its own answer: a conversation, how the answer begins, and the text.

    Without messages `opening` is plain text before it. A beginning is needed: a conversation, or an opening.
    """

    text: str
    messages: tuple[ChatMessage, ...] = ()
    opening: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RivalSearch:
    """Where a model is asked for other ways to go on within a given text.

    lines: of the text, counted from 1; None: all. skip: a rival whose text holds one of these is no branch.
    """

    most: int = 16  # branches
    rivals_per_token: int = 2
    max_tokens: int = 28  # of one branch
    lines: frozenset[int] | None = None
    skip: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rival:
    """Another way to go on: behind the first `at` characters of the given text, `text` up to the end of its line.

    log_odds: log-probability of its first token, less that of the token which stands there (natural logarithms).
    """

    at: int
    text: str
    log_odds: float


class FinishReason(StrEnum):
    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    token_id: int
    token_bytes: bytes
    logprob: float  # natural logarithm, of the model's own distribution at temperature 1; NaN: nothing stands before it
    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0  # of the completion's: thought, not answered; to within a drafted block


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Milliseconds of one request as a whole; `counters` holds sweeps, page faults, drafts, …"""

    queue_ms: float = 0.0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0
    counters: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """First event of every answer. `notes`: what of the request is not done as it was asked, for people."""

    request_id: str
    model: str
    seed: int
    adapter: str | None = None  # hash of the adapter that answers; None: the model alone
    notes: tuple[str, ...] = ()
    prompt_tokens: int = 0  # 0: not known before the end


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    """Text that is final for a choice (no half characters, nothing of a stop string), maybe empty with logprobs."""

    choice: int
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()
    num_tokens: int = 0  # that it came from; 0: not counted


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningDelta:
    """Text of the thinking part, final like a TextDelta's."""

    choice: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallDelta:
    """`id` and `name` come with the first delta of a call, `arguments` in pieces of JSON text."""

    choice: int
    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceFinished:
    """note: one sentence for people where the end wants a word, as when an answer repeated itself. stop: the stop
    string that ended it."""

    choice: int
    reason: FinishReason
    note: str = ""
    stop: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """Last event of every answer that did not fail."""

    usage: Usage
    timings: Timings


ChatEvent = Started | TextDelta | ReasoningDelta | ToolCallDelta | ChoiceFinished | Completed


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """A model as a backend offers it."""

    name: str
    context_length: int | None = None
    created: int = 0  # Unix seconds
    licence: str | None = None
    origin: str | None = None
    parent: str | None = None  # the model that this name adds an adapter to
    abilities: tuple[str, ...] = ()  # completion, tools, thinking, embedding


class ModelState(StrEnum):
    """Of a model that a server may be asked for."""

    OPEN = "open"
    OPENING = "opening"
    AVAILABLE = "available"  # on the machine; the first request opens it
    FAILED = "failed"  # could not be opened when it was last asked for; the next request tries again


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlace:
    """A model and what became of it. size_bytes: memory of its weights when open. idle_s: None while it is not."""

    name: str
    state: ModelState
    size_bytes: int
    active: int = 0
    idle_s: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """vectors: [num_texts, width] float32, each of length 1."""

    vectors: np.ndarray
    prompt_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendStatus:
    """A snapshot for health checks and metrics. `counters` are totals since start."""

    ready: bool
    active: int = 0
    queued: int = 0
    counters: Mapping[str, float] = field(default_factory=dict)
