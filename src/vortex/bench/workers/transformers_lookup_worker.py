"""transformers' generation, with and without its prompt lookup, behind JSON lines. Imports nothing of ours.

{"operation": "version"}                                               -> {"version"}
{"operation": "load", "file", "threads", "dtype"}                      -> {}
{"operation": "answer", "prompt": ids, "new_tokens", "penalty", "lookup": bool} -> {"tokens", "decode_s", "decoded"}
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

LOOKUP_TOKENS = 10  # the library's documentation proposes this number


class Worker:
    def __init__(self) -> None:
        self.model: Any = None

    def version(self) -> dict[str, Any]:
        import transformers

        return {"version": transformers.__version__}

    def load(self, file: str, threads: int, dtype: str = "float32") -> dict[str, Any]:
        import torch
        import transformers

        torch.set_num_threads(threads)
        path = Path(file)
        options = {} if path.is_dir() else {"gguf_file": path.name}
        folder = path if path.is_dir() else path.parent
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), local_files_only=True, **options
        )
        self.model.eval()
        return {}

    def answer(self, prompt: list[int], new_tokens: int, penalty: float, lookup: bool) -> dict[str, Any]:
        """Greedy, exactly `new_tokens` tokens. decode_s: from the first token (or first accepted block) to the end."""
        import torch
        from transformers.generation.stopping_criteria import StoppingCriteria, StoppingCriteriaList

        marks: list[tuple[float, int]] = []

        class Watch(StoppingCriteria):  # type: ignore[misc]
            def __call__(self, input_ids: Any, scores: Any, **more: Any) -> Any:
                marks.append((time.perf_counter(), input_ids.shape[1]))
                return torch.zeros(input_ids.shape[0], dtype=torch.bool)

        with torch.inference_mode():
            output = self.model.generate(
                torch.tensor([prompt]),
                attention_mask=torch.ones((1, len(prompt)), dtype=torch.long),
                do_sample=False,
                max_new_tokens=new_tokens,
                eos_token_id=None,
                pad_token_id=0,
                repetition_penalty=penalty,
                prompt_lookup_num_tokens=LOOKUP_TOKENS if lookup else None,
                stopping_criteria=StoppingCriteriaList([Watch()]),
            )
        tokens = output[0, len(prompt) :].tolist()
        first_s, first_length = marks[0]
        decoded = len(prompt) + len(tokens) - first_length
        return {"tokens": tokens, "decode_s": time.perf_counter() - first_s, "decoded": decoded}
