"""The limits of an engine."""

from __future__ import annotations

from dataclasses import dataclass

from vortex.decode.drafting.drafter import Drafter
from vortex.engine.prompt_store import PromptStoreOptions


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """max_slots: sequences that run at once (a request with n choices takes n).

    queue_limit: requests that may wait for a slot; one more is refused with Overloaded.
    prefill_tokens_per_sweep: prompt tokens that ride in one sweep beside all decodes; at least one chunk always does.
    prefix_cache_bytes: memory for prompt prefixes that later requests may share; 0 turns sharing off.
    prompt_store: where such prefixes outlive the process; None: nowhere.
    default_max_tokens: tokens of an answer whose request names no limit.
    entropy_top_k: report the mean entropy of an answer's tokens over this many likeliest ones; 0: do not measure it.
    context_tokens: most tokens of one conversation; 0: the model's own context.
    max_block: most tokens of one answer in a sweep (its newest and guesses behind it); 1: nothing is guessed.
    drafters: who guesses; empty: nobody.
    end_loops: an answer of a conversation that repeats itself for ever is ended, with a note (decode/loops.py).
    drafts_always: guess although the model's rounding depends on a block's width, and answers might depend on it.
    """

    max_slots: int = 8
    queue_limit: int = 64
    prefill_tokens_per_sweep: int = 256
    prefix_cache_bytes: int = 256 * 2**20
    prompt_store: PromptStoreOptions | None = None
    default_max_tokens: int = 2048
    entropy_top_k: int = 0
    context_tokens: int = 0
    max_block: int = 32
    drafters: tuple[Drafter, ...] = ()
    end_loops: bool = False
    drafts_always: bool = False
