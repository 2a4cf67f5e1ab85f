"""`vortex bench decode`: how fast the bare model sweeps, beside a peer that does the same work.

Prefill of a prompt, then single-token sweeps with logits and without sampling, on both sides. Runs are interleaved
(ours, peer, ours, peer, …) so that a busy machine slows both, and the ratio of medians is what counts. With several
streams, one sweep carries a token of each.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vortex.bench.measurement import CheckFailed
from vortex.bench.peer import Peer
from vortex.bench.report import Report
from vortex.protocols import LanguageModel
from vortex.types import SequenceState, Span, Want

CHECK_TOKENS = 24
PEER_CANDIDATES = 5


@dataclass(frozen=True, slots=True)
class Timing:
    """Tokens per second of one run; `streams` of all streams together."""

    prefill: float
    decode: float
    streams: float | None = None


@dataclass(frozen=True, slots=True)
class DecodeMeasurement:
    """prompt: token ids to prefill. model_file, threads: what the peer loads, and with how many threads."""

    model: LanguageModel
    model_name: str
    prompt: Sequence[int]
    new_tokens: int = 128
    runs: int = 5
    streams: int = 1
    peer: Peer | None = None
    model_file: Path | None = None
    threads: int = 1

    def check(self) -> None:
        """A prompt swept in chunks and token by token must lead to the same next token, and to one the peer likes."""
        prompt = self.prompt[:CHECK_TOKENS]
        whole = self._last_logits(prompt, chunk=self.model.prefill_chunk)
        stepped = self._last_logits(prompt, chunk=1)
        if not (np.isfinite(whole).all() and np.isfinite(stepped).all()):
            raise CheckFailed(f"{self.model_name} gives logits that are not numbers")
        if int(whole.argmax()) != int(stepped.argmax()):
            raise CheckFailed(f"{self.model_name} disagrees with itself between a prefill and single steps")
        if self.peer is not None:
            context = len(self.prompt) + self.new_tokens + 8
            self.peer.ask("load", file=str(self.model_file), context=context, threads=self.threads)
            likeliest = self.peer.ask("time", prompt=list(prompt), new_tokens=1)["top"]
            if likeliest not in whole.argsort()[-PEER_CANDIDATES:]:
                raise CheckFailed(f"{self.peer.name}'s next token is not among {self.model_name}'s likeliest ones")

    def measure(self) -> Report:
        self._ours()  # warm up
        ours, theirs = [], []
        for _ in range(self.runs):
            ours.append(self._ours())
            if self.peer is not None:
                theirs.append(self._theirs(self.peer))
        return self._report(ours, theirs)

    def _last_logits(self, prompt: Sequence[int], chunk: int) -> np.ndarray:
        state = self.model.new_state()
        logits = prefill(self.model, state, prompt, chunk)
        state.close()
        return logits

    def _ours(self) -> Timing:
        state = self.model.new_state()
        started = time.perf_counter()
        prefill(self.model, state, self.prompt)
        prefill_s = time.perf_counter() - started
        states = [state.snapshot() for _ in range(self.streams)] if self.streams > 1 else []
        decode = self._decode([state])
        streams = self._decode(states) if states else None
        for used in (state, *states):
            used.close()
        return Timing(len(self.prompt) / prefill_s, decode, streams)

    def _decode(self, states: Sequence[SequenceState]) -> float:
        """Tokens per second of all states together, one token of each per sweep."""
        token = self.prompt[-1]
        started = time.perf_counter()
        for _ in range(self.new_tokens):
            self.model.sweep([Span(state, [token]) for state in states])
            for state in states:
                state.commit(1)
        return len(states) * self.new_tokens / (time.perf_counter() - started)

    def _theirs(self, peer: Peer) -> Timing:
        timed = peer.ask("time", prompt=list(self.prompt), new_tokens=self.new_tokens)
        return Timing(len(self.prompt) / timed["prefill_s"], self.new_tokens / timed["decode_s"])

    def _report(self, ours: Sequence[Timing], theirs: Sequence[Timing]) -> Report:
        prefill_rate, decode_rate = _median(ours, "prefill"), _median(ours, "decode")
        name = f"vortex {self.model_name}"
        rows = [[name, f"{prefill_rate:.1f}", f"{decode_rate:.1f}"]]
        bars = {"prefill, vortex": prefill_rate, "decode, vortex": decode_rate}
        figures: dict[str, object] = {
            "model": self.model_name,
            "prompt_tokens": len(self.prompt),
            "new_tokens": self.new_tokens,
            "runs": self.runs,
            "threads": self.threads,
            "prefill_tokens_per_s": round(prefill_rate, 1),
            "decode_tokens_per_s": round(decode_rate, 1),
        }
        if theirs and self.peer is not None:
            peer_prefill, peer_decode = _median(theirs, "prefill"), _median(theirs, "decode")
            rows.append([f"{self.peer.name} {self.peer.version}", f"{peer_prefill:.1f}", f"{peer_decode:.1f}"])
            rows.append(["ratio", f"{prefill_rate / peer_prefill:.2f}", f"{decode_rate / peer_decode:.2f}"])
            bars |= {f"prefill, {self.peer.name}": peer_prefill, f"decode, {self.peer.name}": peer_decode}
            figures |= {
                "peer": f"{self.peer.name} {self.peer.version}",
                "peer_prefill_tokens_per_s": round(peer_prefill, 1),
                "peer_decode_tokens_per_s": round(peer_decode, 1),
                "prefill_ratio": round(prefill_rate / peer_prefill, 3),
                "decode_ratio": round(decode_rate / peer_decode, 3),
            }
        if self.streams > 1:
            together = _median(ours, "streams")
            rows.append([f"{self.streams} streams together", "", f"{together:.1f}"])
            rows.append(["against one stream", "", f"{together / decode_rate:.2f}"])
            bars[f"decode, {self.streams} streams"] = together
            figures |= {
                "streams": self.streams,
                "streams_tokens_per_s": round(together, 1),
                "streams_ratio": round(together / decode_rate, 3),
            }
        columns = [f"median of {self.runs}", f"prefill {len(self.prompt)}, tok/s", f"decode {self.new_tokens}, tok/s"]
        return Report("decode", f"{self.model_name}: tokens per second", columns, rows, figures, bars, "tokens/s")


def prefill(model: LanguageModel, state: SequenceState, tokens: Sequence[int], chunk: int | None = None) -> np.ndarray:
    """Sweep and commit `tokens` in chunks; logits [vocab] after the last one."""
    chunk = chunk or model.prefill_chunk
    logits = np.empty(0, np.float32)
    for start in range(0, len(tokens), chunk):
        piece = tokens[start : start + chunk]
        last = start + chunk >= len(tokens)
        output = model.sweep([Span(state, piece, Want.LAST_LOGITS if last else Want.NOTHING)])
        state.commit(len(piece))
        if last:
            logits = output.logits[-1]
    return logits


def _median(timings: Sequence[Timing], name: str) -> float:
    return float(statistics.median(getattr(timing, name) for timing in timings))
