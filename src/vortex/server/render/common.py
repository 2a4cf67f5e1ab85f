"""Parts of answers that every endpoint shares: usage, timings, log-probabilities, reasons."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any

from vortex.types import FinishReason, Started, Timings, TokenLogprob, Usage

LEAST_LOGPROB = -9999.0  # JSON has no infinity; OpenAI writes this


def usage(counts: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": counts.prompt_tokens,
        "completion_tokens": counts.completion_tokens,
        "total_tokens": counts.prompt_tokens + counts.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": counts.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": counts.reasoning_tokens},
    }


def timings(times: Timings, counts: Usage) -> dict[str, float]:
    """Milliseconds, rates and the engine's counters (sweeps, pages) of this one answer."""
    fresh_tokens = counts.prompt_tokens - counts.cached_tokens
    rates = {}
    if times.prefill_ms > 0:
        rates["prefill_tokens_per_s"] = fresh_tokens / times.prefill_ms * 1000
    if times.decode_ms > 0:
        rates["decode_tokens_per_s"] = counts.completion_tokens / times.decode_ms * 1000
    spans = {"queue_ms": times.queue_ms, "prefill_ms": times.prefill_ms, "decode_ms": times.decode_ms}
    return {name: round(value, 3) for name, value in {**spans, **rates, **times.counters}.items()}


def note(text: str) -> dict[str, Any]:
    """Our own word beside a choice's end; nothing where there is none, as OpenAI's clients know it."""
    return {"vortex": {"note": text}} if text else {}


def finish_reason(reason: FinishReason | None) -> str | None:
    """OpenAI knows no cancelled answer; nobody is there to read one either."""
    return None if reason is None else "stop" if reason is FinishReason.CANCELLED else reason.value


def notes(started: Started) -> dict[str, list[str]]:
    """What was not done as it was asked; nothing where all was."""
    return {"notes": list(started.notes)} if started.notes else {}


def chat_logprobs(tokens: Iterable[TokenLogprob]) -> dict[str, Any]:
    content = [{**_token(token), "top_logprobs": [_token(rival) for rival in token.top]} for token in tokens]
    return {"content": content, "refusal": None}


def completion_logprobs(tokens: Iterable[TokenLogprob], offset_chars: int) -> dict[str, Any]:
    """Parallel lists; `offset_chars` is where the first token's text begins."""
    tokens = tuple(tokens)
    texts = [token_text(token) for token in tokens]
    offsets = list(itertools.accumulate(map(len, texts[:-1]), initial=offset_chars)) if texts else []
    return {
        "tokens": texts,
        "token_logprobs": [_finite(token.logprob) for token in tokens],
        "top_logprobs": [
            None if math.isnan(token.logprob) else {token_text(rival): _finite(rival.logprob) for rival in token.top}
            for token in tokens
        ],
        "text_offset": offsets,
    }


def token_text(token: TokenLogprob) -> str:
    return token.token_bytes.decode(errors="replace")


def _token(token: TokenLogprob) -> dict[str, Any]:
    return {
        "token": token_text(token),
        "token_id": token.token_id,
        "logprob": _finite(token.logprob),
        "bytes": list(token.token_bytes),
    }


def _finite(logprob: float) -> float | None:
    """None: nothing stands before the token."""
    return None if math.isnan(logprob) else max(logprob, LEAST_LOGPROB)
