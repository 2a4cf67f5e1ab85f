"""What a language model can do, in five figures, by the house's own contract: any model the program opens.

- perplexity and bits per byte on text that ships with the program, in windows that begin anew;
- cloze: the right ending among four by its likelihood (chance: 25%);
- last word: the last word of each sentence of that text, all of its tokens first choice;
- recall: five digits named early, asked for at the end, over filler of some lengths;
- throughput of prefill and decode.
"""

from __future__ import annotations

import math
import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any

import numpy as np
import yaml

from vortex.protocols import LanguageModel, Tokenizer
from vortex.types import Span, Want

FILLER = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again. "
KEY_DIGITS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """tokens: of text to predict. window: tokens of one piece. recall_tokens: lengths; recall_trials: keys for each."""

    tokens: int = 2048
    window: int = 256
    sentences: int = 40
    recall_tokens: Sequence[int] = (128, 512)
    recall_trials: int = 5
    decode_tokens: int = 48


class Evaluation:
    """`parts()` gives the measurements by name. `text`: to predict; else the one that ships."""

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        options: EvaluationOptions,
        *,
        text: str | None = None,
    ) -> None:
        self._model, self._tokenizer, self._options = model, tokenizer, options
        self._given = text
        self.on_question: Callable[[], None] = lambda: None  # of the cloze test and the last words, before each

    def parts(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """Each measures when it is called."""
        return {
            "text": self.text,
            "cloze": self.cloze,
            "last words": self.last_words,
            "recall": self.recall,
            "throughput": self.throughput,
        }

    def text(self) -> dict[str, Any]:
        """Every token of each window but its first."""
        options, opening = self._options, self._opening
        ids = self._tokenizer.encode(self._text)
        body = options.window - len(opening)
        nats, num_bytes, count = 0.0, 0, 0
        for begin in range(0, min(len(ids), options.tokens), body):
            window = [*opening, *ids[begin : begin + body]]
            if len(window) < 2:
                break
            logprobs = self._logprobs(window)
            nats -= float(logprobs.sum())
            count += len(logprobs)
            num_bytes += sum(len(self._tokenizer.token_bytes(token)) for token in window[len(window) - len(logprobs) :])
        return {
            "tokens": count,
            "perplexity": round(math.exp(nats / count), 4),
            "bits_per_byte": round(nats / math.log(2) / num_bytes, 5),
        }

    def cloze(self) -> dict[str, Any]:
        """Endings compared by log-likelihood per byte."""
        right = 0
        for beginning, answer, others in self._cloze_rows:
            self.on_question()
            scores = {ending: self._ending(beginning, ending) for ending in (answer, *others)}
            right += max(scores, key=lambda ending: scores[ending]) == answer
        return {"cloze": round(right / len(self._cloze_rows), 4), "cloze_questions": len(self._cloze_rows)}

    def last_words(self) -> dict[str, Any]:
        """Sentences of 12 to 40 words; the word before the full stop, given all before it."""
        right = 0
        for sentence in self._sentences:
            self.on_question()
            beginning, word = sentence.rsplit(" ", 1)
            ids, first = self._joined(beginning, f" {word}")
            logits = self._logits(ids)[first - 1 : -1]
            right += bool((logits.argmax(1) == np.asarray(ids[first:])).all())
        return {
            "last_word": round(right / max(1, len(self._sentences)), 4),
            "last_word_sentences": len(self._sentences),
        }

    def recall(self) -> dict[str, Any]:
        """Share of keys whose digits are all the likeliest, by length."""
        found = {}
        for length in self._options.recall_tokens:
            limit = self._model.context_length
            if limit is not None and length + 64 > limit:
                continue
            chance = random.Random(length)
            hits = sum(self._recalls(length, chance) for _ in range(self._options.recall_trials))
            found[str(length)] = round(hits / self._options.recall_trials, 4)
        return {"recall": found}

    def throughput(self) -> dict[str, Any]:
        """Tokens per second of a prompt of one window, and of tokens swept one by one after it."""
        ids = (self._opening + self._tokenizer.encode(self._text))[: self._options.window]
        state = self._model.new_state()
        begin = time.perf_counter()
        self._feed(state, ids)
        prefill_s = time.perf_counter() - begin
        begin = time.perf_counter()
        for token in ids[: self._options.decode_tokens]:
            self._model.sweep([Span(state, [token], Want.LAST_LOGITS)])
            state.commit(1)
        decode_s = time.perf_counter() - begin
        state_bytes = state.resident_bytes
        state.close()
        return {
            "prefill_tokens_per_second": round(len(ids) / prefill_s, 1),
            "decode_tokens_per_second": round(min(len(ids), self._options.decode_tokens) / decode_s, 1),
            "state_bytes": state_bytes,
        }

    def _recalls(self, length: int, chance: random.Random) -> bool:
        key = "".join(chance.choice("123456789") for _ in range(KEY_DIGITS))
        told = f"The pass key is {key}. Remember it. "
        asked = "What is the pass key? The pass key is"
        room = max(0, length - len(self._tokenizer.encode(told + asked)))
        filler = self._tokenizer.encode(FILLER * (room // 8 + 1))[:room]
        cut = chance.randrange(len(filler) + 1) // 2  # in the first half
        around = self._tokenizer.encode(told)
        question, first = self._joined(asked, f" {key}")
        skip = len(self._opening)
        ids = [*self._opening, *filler[:cut], *around, *filler[cut:], *question[skip:]]
        answer = len(question) - first
        logits = self._logits(ids, last=answer + 1)[:-1]
        return bool((logits.argmax(1) == np.asarray(ids[-answer:])).all())

    def _ending(self, beginning: str, ending: str) -> float:
        ids, first = self._joined(beginning, ending)
        return float(self._logprobs(ids)[first - 1 :].sum()) / len(ending)

    def _joined(self, beginning: str, ending: str) -> tuple[list[int], int]:
        """Ids of both, and where the ending's begin: behind the longest beginning that both spellings share."""
        whole = [*self._opening, *self._tokenizer.encode(beginning + ending)]
        alone = [*self._opening, *self._tokenizer.encode(beginning)]
        first = 0
        while first < min(len(whole), len(alone)) and whole[first] == alone[first]:
            first += 1
        return whole, max(1, min(first, len(whole) - 1))

    def _logprobs(self, ids: Sequence[int]) -> np.ndarray:
        """Of every token but the first, float64 [ids - 1]."""
        logits = self._logits(ids)[:-1].astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        row = np.arange(len(logits))
        return np.asarray(logits[row, np.asarray(ids[1:])] - np.log(np.exp(logits).sum(axis=1)))

    def _logits(self, ids: Sequence[int], last: int = 0) -> np.ndarray:
        """After each token, [ids, vocab]; only after the `last` ones where it is not 0."""
        state = self._model.new_state()
        if last:
            self._feed(state, ids[:-last])
            ids = ids[-last:]
        rows = []
        for begin in range(0, len(ids), self._model.prefill_chunk):
            piece = list(ids[begin : begin + self._model.prefill_chunk])
            rows.append(self._model.sweep([Span(state, piece, Want.ALL_LOGITS)]).logits)
            state.commit(len(piece))
        state.close()
        return np.concatenate(rows)

    def _feed(self, state: Any, ids: Sequence[int]) -> None:
        for begin in range(0, len(ids), self._model.prefill_chunk):
            piece = list(ids[begin : begin + self._model.prefill_chunk])
            self._model.sweep([Span(state, piece, Want.NOTHING)])
            state.commit(len(piece))

    @cached_property
    def _opening(self) -> list[int]:
        return list(self._tokenizer.encode("", add_bos=True))

    @cached_property
    def _cloze_rows(self) -> list[tuple[str, str, list[str]]]:
        """Beginnings, their right endings, the others."""
        text = (resources.files("vortex.learn") / "data" / "cloze.yaml").read_text(encoding="utf-8")
        return [tuple(row) for row in yaml.safe_load(text)]

    @cached_property
    def _sentences(self) -> list[str]:
        found = re.findall(r"(?:\S+ ){11,39}[a-z]+(?=\.\s)", self._text)
        return list(found[: self._options.sentences])

    @cached_property
    def _text(self) -> str:
        if self._given is not None:
            return self._given
        folder = resources.files("vortex.bench") / "data"
        return (folder / "origin_of_species_8.txt").read_text(encoding="utf-8")
