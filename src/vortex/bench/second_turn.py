"""`vortex bench restart`: how long a long conversation's next turn waits for its first token after a restart.

The prompt (as an agent sends it: instructions, then text) is answered cold, with nothing kept; its state goes to disk
as the engine closes; a fresh engine over the model answers the same conversation, one turn longer. Checked before
anything is timed: a restored prefix gives the very tokens of the cold one.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.engine.prompt_store import PromptStoreOptions
from vortex.protocols import ChatBackend
from vortex.types import ChatRequest, Completed, TextDelta

PHRASE = "The agent reads the file, changes a line of it, runs the tests and reports what it saw. "
NEXT_TURN = " Now say what to do next."
CHECK_TOKENS, ANSWER_TOKENS = 300, 4
DISK_BYTES = 8 << 30

OpenBackend = Callable[[PromptStoreOptions | None], ChatBackend]


@dataclass(frozen=True, slots=True)
class Waited:
    first_token_s: float
    token_ids: list[int]
    cached_tokens: int
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class SecondTurnMeasurement:
    """open_backend: a fresh engine over the model, with this store. text_of: a text of about so many tokens."""

    open_backend: OpenBackend
    model: str
    tokens: int
    runs: int
    text_of: Callable[[int], str]

    def check(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = PromptStoreOptions(Path(folder) / "prompts", DISK_BYTES, lambda: "measured")
            prompt = self.text_of(CHECK_TOKENS)
            cold = asyncio.run(self._ask(None, prompt + NEXT_TURN))
            asyncio.run(self._ask(store, prompt))
            warm = asyncio.run(self._ask(store, prompt + NEXT_TURN))
        if not warm.cached_tokens:
            raise CheckFailed("nothing came back from disk")
        if warm.token_ids != cold.token_ids:
            raise CheckFailed("a restored prefix gives another answer than a cold one")

    def measure(self) -> Report:
        prompt, cold_s, warm_s, last = self.text_of(self.tokens), [], [], None
        for _ in range(self.runs):
            with tempfile.TemporaryDirectory() as folder:
                store = PromptStoreOptions(Path(folder) / "prompts", DISK_BYTES, lambda: "measured")
                cold = asyncio.run(self._ask(store, prompt))
                kept_bytes = sum(path.stat().st_size for path in store.folder.rglob("*.prompt"))
                last = asyncio.run(self._ask(store, prompt + NEXT_TURN))
            cold_s.append(cold.first_token_s)
            warm_s.append(last.first_token_s)
        assert last is not None, "at least one run"
        cold_median, warm_median = statistics.median(cold_s), statistics.median(warm_s)
        figures = {
            "model": self.model,
            "prompt_tokens": last.prompt_tokens,
            "cached_tokens": last.cached_tokens,
            "cold_first_token_s": round(cold_median, 3),
            "after_restart_first_token_s": round(warm_median, 3),
            "share": round(warm_median / cold_median, 4),
            "kept_bytes": kept_bytes,
            "runs": self.runs,
        }
        row = [
            f"{last.prompt_tokens:,}",
            f"{cold_median:.2f} s",
            f"{warm_median:.2f} s",
            f"{warm_median / cold_median:.1%}",
            f"{kept_bytes / 1e6:,.0f} MB",
        ]
        columns = ["prompt tokens", "cold first token", "after a restart", "share", "on disk"]
        return Report("restart", f"{self.model}: the second turn after a restart", columns, [row], figures)

    async def _ask(self, store: PromptStoreOptions | None, prompt: str) -> Waited:
        backend = self.open_backend(store)
        try:
            request = ChatRequest(
                request_id="restart", prompt=prompt, max_tokens=ANSWER_TOKENS, ignore_eos=True, top_logprobs=0
            )
            started_s, first_s, tokens = time.perf_counter(), 0.0, list[int]()
            async for event in backend.chat(request):
                if isinstance(event, TextDelta):
                    first_s = first_s or time.perf_counter() - started_s
                    tokens += [one.token_id for one in event.logprobs]
                if isinstance(event, Completed):
                    usage = event.usage
            return Waited(first_s, tokens, usage.cached_tokens, usage.prompt_tokens)
        finally:
            await backend.close()
