"""llama.cpp behind JSON lines, for the interpreter where `llama_cpp` is installed. Imports nothing of ours.

Requests and answers (worker_loop.py):
    {"operation": "version"}                                     -> {"version"}
    {"operation": "load", "file", "context", "threads"}          -> {"vocab_size"}
    {"operation": "time", "prompt": ids, "new_tokens": n}        -> {"prefill_s", "decode_s", "top", ...}
    {"operation": "answer", "prompt": ids, "new_tokens", "penalty", "lookup": bool} -> {"tokens", "decode_s", "decoded"}
    {"operation": "logits", "tokens": ids, "file": npy path}     -> {}   float32 [tokens, vocab]
"""

from __future__ import annotations

import time
from typing import Any

LOOKUP_TOKENS = 2  # the library's documentation proposes this number for CPUs


class Worker:
    def __init__(self) -> None:
        self.model: Any = None
        self.drafting: Any = None  # the same file once more, with n-gram lookup
        self.options: dict[str, Any] = {}

    def version(self) -> dict[str, Any]:
        import llama_cpp

        return {"version": llama_cpp.__version__}

    def load(
        self, file: str, context: int, threads: int, all_logits: bool = False, repack: bool = True
    ) -> dict[str, Any]:
        """repack: as it does by itself, a copy of the weights in its own memory; else they stay in the mapped file."""
        import llama_cpp

        if not repack:
            _without_repacking(llama_cpp.llama_cpp)
        self.options = {
            "model_path": file,
            "n_ctx": context,
            "n_threads": threads,
            "n_threads_batch": threads,
            "verbose": False,
        }
        self.model = llama_cpp.Llama(**self.options, logits_all=all_logits)
        return {"vocab_size": self.model.n_vocab()}

    def time(self, prompt: list[int], new_tokens: int) -> dict[str, Any]:
        """Prefill the prompt, then sweep single tokens (always the same one: no sampling on either side)."""
        import numpy

        self.model.reset()
        started = time.perf_counter()
        self.model.eval(prompt)
        prefilled = time.perf_counter()
        logits = numpy.ctypeslib.as_array(self.model._ctx.get_logits(), shape=(self.model.n_vocab(),))
        top = int(numpy.argmax(logits))
        read_before, started_decode = _bytes_read(), time.perf_counter()
        for _ in range(new_tokens):
            self.model.eval([prompt[-1]])
        ended = time.perf_counter()
        return {
            "prefill_s": prefilled - started,
            "decode_s": ended - started_decode,
            "top": top,
            "decode_read_bytes": _bytes_read() - read_before,
        }

    def answer(self, prompt: list[int], new_tokens: int, penalty: float, lookup: bool) -> dict[str, Any]:
        """Greedy, `new_tokens` tokens whatever they are. decode_s: from the first token to the last."""
        from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

        model = self.model
        if lookup:
            if self.drafting is None:
                draft_model = LlamaPromptLookupDecoding(num_pred_tokens=LOOKUP_TOKENS)
                # logits_all: else the library keeps scores of 512 places only, and fails behind them with a draft model
                self.drafting = type(model)(**self.options, draft_model=draft_model, logits_all=True)
            model = self.drafting
        model.reset()
        tokens: list[int] = []
        started = 0.0
        for token in model.generate(prompt, temp=0.0, repeat_penalty=penalty):
            started = started or time.perf_counter()
            tokens.append(token)
            if len(tokens) == new_tokens:
                break
        return {"tokens": tokens, "decode_s": time.perf_counter() - started, "decoded": len(tokens) - 1}

    def logits(self, tokens: list[int], file: str) -> dict[str, Any]:
        import numpy

        self.model.reset()
        self.model.eval(tokens)
        numpy.save(file, self.model.scores[: len(tokens)])
        return {}


def _bytes_read() -> int:
    """By this process from disks so far, mapped files included; 0 where the system does not say."""
    try:
        with open("/proc/self/io", encoding="ascii") as counters:  # noqa: PTH123
            return next(int(line.split()[1]) for line in counters if line.startswith("read_bytes"))
    except OSError:
        return 0


def _without_repacking(library: Any) -> None:
    """The library's own switch, which its Python class does not pass on."""
    defaults = library.llama_model_default_params

    def mapped() -> Any:
        params = defaults()
        params.use_extra_bufts = False
        return params

    library.llama_model_default_params = mapped
