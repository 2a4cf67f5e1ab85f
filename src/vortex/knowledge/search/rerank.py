"""Reranking by a language model: how likely is the question after the passage?

The mean log-probability of the question's tokens behind the passage, in any model that can be swept. Slow (a passage is
a prompt), so it puts only the best few in order. Source: query likelihood (Ponte and Croft 1998), with a language model
in place of a unigram one (Sachan et al. 2022).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vortex.protocols import LanguageModel, Tokenizer
from vortex.types import Span, Want

MAX_PASSAGE_TOKENS = 200


class LikelihoodReranker:
    """A `Reranker`. Does not own the model; one thread at a time."""

    def __init__(self, model: LanguageModel, tokenizer: Tokenizer) -> None:
        self._model = model
        self._tokenizer = tokenizer

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """Mean log-probability of the query's tokens, in nats."""
        asked = self._tokenizer.encode(f"\n\nQuestion: {query}")
        return [self._score(text, asked) for text in texts]

    def _score(self, text: str, asked: Sequence[int]) -> float:
        prompt = self._tokenizer.encode(text, add_bos=True)[:MAX_PASSAGE_TOKENS]
        state = self._model.new_state()
        try:
            step = self._model.prefill_chunk
            for start in range(0, len(prompt) - 1, step):
                part = prompt[start : min(start + step, len(prompt) - 1)]
                self._model.sweep([Span(state, part, Want.NOTHING)])
                state.commit(len(part))
            tokens = [prompt[-1], *asked]
            output = self._model.sweep([Span(state, tokens[:-1], Want.ALL_LOGITS)])
            logits = output.logits[output.logits_rows[0]]
            state.commit(len(tokens) - 1)
        finally:
            state.close()
        return float(_log_probabilities(logits, np.asarray(tokens[1:])).mean())


def _log_probabilities(logits: np.ndarray, token_ids: np.ndarray) -> np.ndarray:
    """logits [T, vocab], token_ids [T]. Gives [T] in nats."""
    largest = logits.max(axis=1)
    totals = np.log(np.exp(logits - largest[:, None]).sum(axis=1, dtype=np.float64))
    chosen = logits[np.arange(len(token_ids)), token_ids]
    return chosen - largest - totals
