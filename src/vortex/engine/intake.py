"""A ChatRequest becomes a Generation: checked, written in the model's chat format, measured against the context.

Everything a request can be refused for is refused here, before its first event, with one line that names the fix.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

from vortex.decode.constraint import TokenConstraint
from vortex.decode.sampler import SamplerState
from vortex.engine.answer_text import AnswerText
from vortex.engine.choice import Choice, Ending
from vortex.engine.echo import Echo
from vortex.engine.generation import Generation
from vortex.engine.infill import infill_ids
from vortex.engine.mailbox import Mailbox
from vortex.engine.options import EngineOptions
from vortex.errors import ContextOverflow, RequestError
from vortex.protocols import ChatFormat, Tokenizer
from vortex.types import Adapter, ChatEvent, ChatRequest, ChoiceFinished, SamplingOptions, TextDelta

ConstraintFactory = Callable[[ChatRequest, int, str], TokenConstraint | None]
"""(request, most tokens of the answer, the end of the prompt as text) to what its tokens must obey, or None. Raises
RequestError for what it cannot read, or where the limit is too small for any valid answer. Called before the first
event, copied for every choice."""

RestrictionFactory = Callable[[Sequence[int]], TokenConstraint | None]
"""A prompt to rules that hold for its answer where the request brings none of its own."""

MAX_TOP_LOGPROBS = 20
TAIL_TOKENS = 16  # of a prompt, in which a template may have begun the answer
BOOK_CHARS = 1 << 20
DRAWN_SEED_BITS = 53  # exact in JSON numbers everywhere


@runtime_checkable
class Noting(Protocol):
    """A constraint that says what of the request it does not enforce."""

    @property
    def notes(self) -> tuple[str, ...]: ...


class AnswerReader(Protocol):
    """Reads an answer as it is written and says it in other events: text that is a call or a thought becomes one.

    One for each request, fed with all its deltas and ends in order; text it is unsure of it may hold back.
    """

    @property
    def reasoning_tokens(self) -> int:
        """Tokens so far that were thought."""
        ...

    def read(self, event: TextDelta | ChoiceFinished) -> Iterable[ChatEvent]: ...


ReaderFactory = Callable[[ChatRequest, str], AnswerReader | None]
"""(request, the end of the prompt as text) to what reads its answer; None for plain text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRules:
    """What answers must obey and how they are read.

    constrain: for requests with tools or a schema; without it they are refused. read_answer: None for plain text.
    restrict: rules for answers without a schema. marks: control tokens that `read_answer` wants to see.
    """

    constrain: ConstraintFactory | None = None
    read_answer: ReaderFactory | None = None
    restrict: RestrictionFactory | None = None
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request with all its unknowns settled."""

    request: ChatRequest
    prompt_ids: list[int]
    max_tokens: int
    seed: int
    constraint: TokenConstraint | None
    notes: tuple[str, ...] = ()  # what is not done as it was asked
    reader: AnswerReader | None = None


def _notes_of(constraint: object) -> tuple[str, ...]:
    return constraint.notes if isinstance(constraint, Noting) else ()


def wants_structure(request: ChatRequest) -> bool:
    """The answer must follow a schema, or may hold tool calls."""
    return request.json_schema is not None or (bool(request.tools) and request.tool_choice != "none")


class Intake:
    """vocab_size: ids that a prompt may hold and a bias may name. context_length: most tokens of a conversation, or
    None. Safe to use from several threads if the tokenizer is."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        chat_format: ChatFormat,
        options: EngineOptions,
        *,
        vocab_size: int,
        context_length: int | None,
        rules: AnswerRules,
    ) -> None:
        self._tokenizer = tokenizer
        self._chat_format = chat_format
        self._options = options
        self._vocab_size = vocab_size
        self._context_length = context_length
        self._rules = rules
        marks = [tokenizer.encode(mark, special=True) for mark in rules.marks]
        self._shown = frozenset(ids[0] for ids in marks if len(ids) == 1)

    def prepare(self, request: ChatRequest) -> Prepared:
        """Raises RequestError or ContextOverflow."""
        check_sampling(request.sampling, self._vocab_size)
        self._check_shape(request)
        self._check_size(request)
        prompt_ids = self.prompt_ids(request)
        max_tokens, notes = self._fit(len(prompt_ids), request)
        if request.min_tokens > max_tokens:
            raise RequestError(
                f"min_tokens {request.min_tokens} is more than the {max_tokens} tokens the answer may have",
                param="min_tokens",
            )
        tail = self._tokenizer.decode(prompt_ids[-TAIL_TOKENS:], special=True) if request.messages else ""
        constraint = reader = None
        if self._rules.constrain and (wants_structure(request) or request.thinking_tokens is not None):
            constraint = self._rules.constrain(request, max_tokens, tail)
        if self._rules.read_answer:
            reader = self._rules.read_answer(request, tail)
        notes += _notes_of(constraint)
        if constraint is None and self._rules.restrict is not None:
            constraint = self._rules.restrict(prompt_ids)
        seed = request.sampling.seed
        drawn = secrets.randbits(DRAWN_SEED_BITS) if seed is None else seed
        return Prepared(request, prompt_ids, max_tokens, drawn, constraint, notes, reader)

    def generation(self, prepared: Prepared, box: Mailbox[ChatEvent], adapter: Adapter | None = None) -> Generation:
        """The job, its events to go to `box`."""
        choices = [self._choice(prepared, index, adapter) for index in range(prepared.request.num_choices)]
        return Generation(prepared.prompt_ids, choices, box, self._echo(prepared), adapter)

    def _echo(self, prepared: Prepared) -> Echo | None:
        request = prepared.request
        if not request.echo:
            return None
        text = request.prompt if isinstance(request.prompt, str) else None
        return Echo(
            text=self._tokenizer.decode(prepared.prompt_ids, special=True) if text is None else text,
            prompt_ids=prepared.prompt_ids,
            tokenizer=self._tokenizer,
            top_logprobs=request.top_logprobs,
            is_all=request.max_tokens == 0,
        )

    def prompt_ids(self, request: ChatRequest) -> list[int]:
        """The prompt as the model reads it: the conversation in its format, or text after a beginning token, or ids."""
        if request.prompt is None:
            tools = request.tools if request.tool_choice != "none" else ()
            ids = self._chat_format.encode(request.messages, tools, **request.template_options)
        elif request.suffix is not None:
            ids = self._infill(request.prompt, request.suffix)
        elif isinstance(request.prompt, str):
            ids = self._plain(request.prompt)
        else:
            ids = list(request.prompt)
        if not ids:
            raise RequestError("the prompt is empty; send at least one token", param="prompt")
        if min(ids) < 0 or max(ids) >= self._vocab_size:
            raise RequestError(f"the prompt holds a token id outside 0..{self._vocab_size - 1}", param="prompt")
        return ids

    def text_ids(self, text: str) -> list[int]:
        """A text that is no prompt (one to be embedded): control tokens written in it are text."""
        ids = self._tokenizer.encode(text, add_bos=True)
        if not ids:
            raise RequestError("the text is empty; send at least one character", param="input")
        return ids

    def text_of(self, token_ids: Sequence[int]) -> str:
        """Control tokens spelled out. RequestError for an id outside the vocabulary."""
        if not all(0 <= token_id < self._vocab_size for token_id in token_ids):
            raise RequestError(f"token ids are between 0 and {self._vocab_size - 1}", param="tokens")
        return self._tokenizer.decode(token_ids, special=True)

    def _plain(self, prompt: str) -> list[int]:
        """A prompt as editors and evaluations write it: its control tokens are meant, and a beginning token that it
        spells is not put before it once more."""
        ids = self._tokenizer.encode(prompt, special=True, add_bos=True)
        if len(ids) > 1 and ids[0] == ids[1] and self._tokenizer.encode(prompt, special=True)[:1] == ids[:1]:
            return ids[1:]
        return ids

    def _infill(self, prompt: str | tuple[int, ...], suffix: str) -> list[int]:
        if not isinstance(prompt, str):
            raise RequestError("'suffix' needs a prompt of text, not of token ids", param="suffix")
        ids = infill_ids(self._tokenizer, prompt, suffix)
        if ids is None:
            raise RequestError("'suffix' is not supported: this model was not made to fill in a middle", param="suffix")
        return ids

    def check_fits(self, prompt_tokens: int, param: str, *, at_least: bool = False) -> None:
        """Raises ContextOverflow where the prompt alone leaves no room for a token."""
        limit = self._context_length
        if limit is not None and prompt_tokens >= limit:
            count = f"at least {prompt_tokens}" if at_least else prompt_tokens
            raise ContextOverflow(
                f"the prompt has {count} tokens and the context holds {limit}; shorten the prompt", param=param
            )

    def _fit(self, prompt_tokens: int, request: ChatRequest) -> tuple[int, tuple[str, ...]]:
        """How many tokens the answer may have, and what to say where that is not what was asked."""
        self.check_fits(prompt_tokens, "messages" if request.prompt is None else "prompt")
        limit, asked = self._context_length, request.max_tokens
        room = self._options.default_max_tokens if limit is None else limit - prompt_tokens
        if asked is None or asked < 0:
            return min(room, self._options.default_max_tokens), ()
        if not asked:
            return 1, () if request.echo else ("max_tokens 0 was read as 1: an answer has at least one token",)
        if limit is not None and asked > room:
            return room, (
                f"max_tokens {asked} was lowered to {room}: the prompt has {prompt_tokens} tokens and the context "
                f"holds {limit}",
            )
        return asked, ()

    def _check_size(self, request: ChatRequest) -> None:
        """A book is refused unread: to cut it into tokens would take a hundred times its size in memory."""
        limit, prompt = self._context_length, request.prompt
        texts = [prompt] if isinstance(prompt, str) else [message.content for message in request.messages]
        longest_chars = max(map(len, texts), default=0)
        if limit is None or longest_chars < BOOK_CHARS:
            return
        least_tokens = longest_chars // (2 * self._longest_token_bytes)  # half: signs may be joined before they are cut
        self.check_fits(least_tokens, "messages" if prompt is None else "prompt", at_least=True)

    @cached_property
    def _longest_token_bytes(self) -> int:
        return max(len(self._tokenizer.token_bytes(token_id)) for token_id in range(self._vocab_size))

    def _check_shape(self, request: ChatRequest) -> None:
        if (request.prompt is None) == (not request.messages):
            raise RequestError("a request needs either messages or a prompt", param="messages")
        if not 1 <= request.num_choices <= self._options.max_slots:
            raise RequestError(
                f"n is {request.num_choices}; this engine answers 1 to {self._options.max_slots} choices at once",
                param="n",
            )
        _need(request.max_tokens is None or request.max_tokens >= -1, "max_tokens", "at least 1, or -1: no limit")
        _need(request.min_tokens >= 0, "min_tokens", "at least 0")
        _need(
            request.top_logprobs is None or 0 <= request.top_logprobs <= MAX_TOP_LOGPROBS,
            "top_logprobs",
            f"between 0 and {MAX_TOP_LOGPROBS}",
        )
        _need(all(request.stop), "stop", "strings that are not empty")
        if wants_structure(request) and self._rules.constrain is None:
            asked = "a JSON schema" if request.json_schema is not None else "tool calls"
            raise RequestError(
                f"the request asks for {asked}, but this backend was opened without constrained decoding; "
                "leave them out, or serve the model with `vortex serve`",
                param="response_format" if request.json_schema is not None else "tools",
            )

    def _choice(self, prepared: Prepared, index: int, adapter: Adapter | None) -> Choice:
        request = prepared.request
        ending = Ending(
            max_tokens=prepared.max_tokens,
            min_tokens=request.min_tokens,
            end_ids=frozenset() if request.ignore_eos else self._tokenizer.end_ids,
            watch_loops=self._options.end_loops and bool(request.messages) and not request.ignore_eos,
        )
        sampler = SamplerState(
            request.sampling,
            seed=prepared.seed,
            choice=index,
            prompt_ids=prepared.prompt_ids,
            constraint=prepared.constraint.copy() if prepared.constraint is not None else None,
            min_tokens=request.min_tokens,
            end_ids=ending.end_ids,
        )
        return Choice(
            sampler=sampler,
            text=AnswerText(
                index,
                self._tokenizer.stream_decoder(self._shown if prepared.reader else frozenset()),
                request.stop,
            ),
            ending=ending,
            tokenizer=self._tokenizer,
            top_logprobs=request.top_logprobs,
            entropy_top_k=self._options.entropy_top_k,
            adapter=adapter,
        )


def check_sampling(sampling: SamplingOptions, vocab_size: int) -> None:
    """Raises RequestError naming the first value out of range."""
    for name in ("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty"):
        _need(math.isfinite(getattr(sampling, name)), name, "a finite number")
    _need(sampling.temperature >= 0, "temperature", "at least 0")
    _need(0 <= sampling.top_p <= 1, "top_p", "between 0 and 1")
    _need(0 <= sampling.min_p <= 1, "min_p", "between 0 and 1")
    _need(sampling.repetition_penalty > 0, "repetition_penalty", "greater than 0")
    for name in ("top_k", "top_p_max_k", "penalty_window"):
        _need(getattr(sampling, name) >= 0, name, "at least 0 (0: no limit)")
    _need(sampling.top_p_min_k >= 1, "top_p_min_k", "at least 1")
    _need(all(math.isfinite(bias) for bias in sampling.logit_bias.values()), "logit_bias", "finite numbers")
    _need(
        all(0 <= token_id < vocab_size for token_id in sampling.logit_bias),
        "logit_bias",
        f"for token ids between 0 and {vocab_size - 1}",
    )


def _need(holds: bool, param: str, what: str) -> None:
    if not holds:
        raise RequestError(f"{param} must be {what}", param=param)


def check_texts(texts: Sequence[str]) -> None:
    """Raises RequestError for an embedding request without a text."""
    _need(bool(texts), "input", "at least one text")
