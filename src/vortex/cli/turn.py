"""One answer of a model: asked, shown as it comes, and measured at the reader's end.

Closing (cancelling) a turn closes the request, so a stopped answer stops the model too.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import uuid4

from vortex.config.schema import Settings
from vortex.protocols import ChatBackend
from vortex.types import (
    ChatEvent,
    ChatMessage,
    ChatRequest,
    ChoiceFinished,
    Completed,
    FinishReason,
    ReasoningDelta,
    SamplingOptions,
    Started,
    TextDelta,
    Usage,
)


@dataclass(slots=True)
class Turn:
    """What is known of an answer so far. Complete when `usage` is set."""

    text: str = ""
    reasoning: str = ""
    model: str = ""
    seed: int | None = None
    reason: FinishReason | None = None
    note: str = ""
    usage: Usage | None = None
    started_s: float = field(default_factory=time.perf_counter)
    first_token_s: float | None = None
    ended_s: float | None = None

    @property
    def first_token_ms(self) -> float | None:
        return None if self.first_token_s is None else 1000 * (self.first_token_s - self.started_s)

    @property
    def tokens_per_s(self) -> float | None:
        """Decoding speed: tokens after the first, over the time since the first."""
        if self.usage is None or self.first_token_s is None or self.ended_s is None:
            return None
        num_tokens, elapsed_s = self.usage.completion_tokens - 1, self.ended_s - self.first_token_s
        return num_tokens / elapsed_s if num_tokens > 0 and elapsed_s > 0 else None

    def summary(self) -> str:
        """One line for people: `42 tokens · 57.1 tokens/s · first token 180 ms`."""
        parts = [f"{self.usage.completion_tokens} tokens"] if self.usage else []
        if self.usage and self.usage.reasoning_tokens:
            parts.append(f"{self.usage.reasoning_tokens} of them thought")
        if self.tokens_per_s is not None:
            parts.append(f"{self.tokens_per_s:.1f} tokens/s")
        if self.first_token_ms is not None:
            parts.append(f"first token {self.first_token_ms:.0f} ms")
        if self.reason is FinishReason.LENGTH:
            parts.append("cut at the limit (--max-new-tokens raises it)")
        if self.note:
            parts.append(self.note)
        return " · ".join(parts)

    def as_json(self) -> dict[str, Any]:
        return {
            "text": self.text,
            **({"reasoning": self.reasoning} if self.reasoning else {}),
            "model": self.model,
            "finish_reason": self.reason,
            "seed": self.seed,
            "prompt_tokens": self.usage.prompt_tokens if self.usage else None,
            "completion_tokens": self.usage.completion_tokens if self.usage else None,
            "first_token_ms": self.first_token_ms,
            "tokens_per_s": self.tokens_per_s,
        }


def sampling_of(settings: Settings, seed: int | None) -> SamplingOptions:
    """How the settings say that tokens are chosen."""
    decode, bad = settings.decode, settings.bad
    return SamplingOptions(
        temperature=decode.temperature,
        top_k=decode.top_k,
        top_p=decode.top_p,
        min_p=decode.min_p,
        repetition_penalty=decode.repetition_penalty,
        penalty_window=bad.penalty_window,
        penalty_reads_prompt=decode.penalty_reads_prompt,
        top_p_min_k=bad.top_p_min_k,
        top_p_max_k=bad.top_p_max_k,
        seed=seed,
    )


def request_for(
    messages: Sequence[ChatMessage], settings: Settings, seed: int | None, max_tokens: int | None
) -> ChatRequest:
    """A conversation as a request; the settings' system message goes first where there is none."""
    if settings.chat.system and not any(message.role == "system" for message in messages):
        messages = [ChatMessage(role="system", content=settings.chat.system), *messages]
    return ChatRequest(
        request_id=f"chat-{uuid4().hex[:12]}",
        model=settings.adapters.name if settings.model.backend == "http" else None,
        messages=tuple(messages),
        sampling=sampling_of(settings, seed),
        max_tokens=max_tokens,
    )


async def run_turn(
    backend: ChatBackend,
    request: ChatRequest,
    turn: Turn,
    show: Callable[[str], None],
    show_thought: Callable[[str], None] = lambda _: None,
) -> None:
    """Fill `turn` as events come; `show` gets each piece of text, `show_thought` of what the model thinks before it. A
    cancelled turn keeps what it has so far."""
    events = cast("AsyncGenerator[ChatEvent, None]", backend.chat(request))
    async with aclosing(events):
        async for event in events:
            match event:
                case Started():
                    turn.model, turn.seed = event.model, event.seed
                case ReasoningDelta():
                    turn.first_token_s = turn.first_token_s or time.perf_counter()
                    turn.reasoning += event.text
                    show_thought(event.text)
                case TextDelta() if event.text:
                    if turn.reasoning and not turn.text:
                        show_thought("\n\n")
                    turn.first_token_s = turn.first_token_s or time.perf_counter()
                    turn.text += event.text
                    show(event.text)
                case ChoiceFinished():
                    turn.reason, turn.note = event.reason, event.note
                    turn.ended_s = time.perf_counter()
                case Completed():
                    turn.usage = event.usage
