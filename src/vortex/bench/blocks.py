"""`vortex bench generate`: what drafts are worth, by kind of task, with and without a repetition penalty.

Every prompt is answered by plain decoding and with drafts, and by the peers without and with theirs, before the next
prompt's turn, so that a busy machine slows all. What counts is the time from the first token to the last, of
answers that may not end early. Tokens of plain and drafted answers are compared, all of them: a difference is an error.
Drafters learn from prompt to prompt, as in a server; each penalty has engines of its own, so that no answer is seen
twice by one.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from vortex.bench.asking import Answer, Engine, Subject
from vortex.bench.measurement import CheckFailed
from vortex.bench.peer import Peer
from vortex.bench.report import Curves, Report
from vortex.bench.task_prompts import KINDS, TaskPrompt
from vortex.c3.paging.counters import counted_since
from vortex.decode.drafting.drafter import Drafter
from vortex.types import ChatRequest, SamplingOptions

CHECK_TOKENS = 24
PLAIN, DRAFTED = "plain", "BAD"
HISTOGRAM_PLACES = 16


class Cell(NamedTuple):
    kind: str
    penalty: float


@dataclass(slots=True)
class Tally:
    """Tokens and seconds of decoding by contestant, and what our engine counted."""

    tokens: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, who: str, tokens: int, seconds: float) -> None:
        self.tokens[who] += tokens
        self.seconds[who] += seconds

    def rate(self, who: str) -> float:
        return self.tokens[who] / self.seconds[who]


@dataclass(frozen=True, slots=True)
class BlocksMeasurement:
    """drafters: makes fresh ones. peers: loaded on demand with `model_file`. max_block: the widest block of ours."""

    subject: Subject
    drafters: Callable[[], Sequence[Drafter]]
    prompts: Sequence[TaskPrompt]
    new_tokens: int = 256
    max_block: int = 32
    penalties: Sequence[float] = (1.0, 1.1)
    penalty_window: int = SamplingOptions().penalty_window
    peers: Sequence[Peer] = ()
    model_file: Path | None = None
    threads: int = 1
    weights: str = "resident"
    paging: Callable[[], Mapping[str, float]] = dict
    progress: Callable[[str], None] = lambda line: None

    def check(self) -> None:
        """Drafted answers equal plain ones, penalised and not, on the first prompt of each kind."""
        firsts = {prompt.kind: prompt for prompt in reversed(self.prompts)}.values()
        with Engine(self.subject) as plain, Engine(self.subject, self.drafters(), max_block=self.max_block) as drafted:
            for prompt in firsts:
                for penalty in self.penalties:
                    asked = self._request(prompt, penalty, CHECK_TOKENS)
                    _same(plain.ask(asked), drafted.ask(asked), prompt)

    def measure(self) -> Report:
        for peer in self.peers:
            peer.ask("load", file=str(self.model_file), threads=self.threads, **_load_options(peer, self._context()))
        tallies: dict[Cell, Tally] = defaultdict(Tally)
        paging_before = dict(self.paging())
        for penalty in self.penalties:
            with ExitStack() as stack:
                plain = stack.enter_context(Engine(self.subject))
                drafted = stack.enter_context(Engine(self.subject, self.drafters(), max_block=self.max_block))
                for number, prompt in enumerate(self._mixed(), start=1):
                    tally = tallies[Cell(prompt.kind, penalty)]
                    self._answer(plain, drafted, prompt, penalty, tally, plain_first=number % 2 == 1)
                    self.progress(f"penalty {penalty:g}: {number} of {len(self.prompts)} prompts")
        paging = counted_since(paging_before, self.paging())
        return self._report(tallies, paging)

    def _answer(
        self, plain: Engine, drafted: Engine, prompt: TaskPrompt, penalty: float, tally: Tally, *, plain_first: bool
    ) -> None:
        """One prompt by all contestants, in turns; of ours each is the first as often as the other."""
        asked = self._request(prompt, penalty, self.new_tokens)
        if plain_first:
            slow, fast = plain.ask(asked), drafted.ask(asked)
        else:
            fast, slow = drafted.ask(asked), plain.ask(asked)
        _same(slow, fast, prompt)
        tally.add(PLAIN, len(slow.token_ids) - 1, slow.decode_s)
        tally.add(DRAFTED, len(fast.token_ids) - 1, fast.decode_s)
        tally.counts.update(_counts(fast))
        for peer in self.peers:
            for lookup in (False, True):
                told = peer.ask(
                    "answer",
                    prompt=self.subject.prompt_ids(asked),
                    new_tokens=self.new_tokens,
                    penalty=penalty,
                    lookup=lookup,
                )
                tally.add(_name(peer, lookup=lookup), told["decoded"], told["decode_s"])

    def _request(self, prompt: TaskPrompt, penalty: float, new_tokens: int) -> ChatRequest:
        """An answer that may not end before it has all its tokens."""
        sampling = SamplingOptions(repetition_penalty=penalty, penalty_window=self.penalty_window)
        return self.subject.request(prompt.text, sampling, new_tokens, min_tokens=new_tokens)

    def _mixed(self) -> Iterable[TaskPrompt]:
        """Kinds in turns, so that no kind has the warm machine, or the drafters' experience, for itself."""
        by_kind = [[prompt for prompt in self.prompts if prompt.kind == kind] for kind in KINDS]
        for place in range(max(map(len, by_kind))):
            yield from (prompts[place] for prompts in by_kind if place < len(prompts))

    def _context(self) -> int:
        longest = max(len(self.subject.prompt_ids(self._request(prompt, 1.0, 1))) for prompt in self.prompts)
        return longest + self.new_tokens + 64

    def _report(self, tallies: Mapping[Cell, Tally], paging: Mapping[str, float]) -> Report:
        peers = [_name(peer, lookup=lookup) for peer in self.peers for lookup in (False, True)]
        columns = ["task, penalty", "plain tok/s", "BAD tok/s", "times", "tokens/sweep", "accepted"]
        columns += [f"{name} tok/s" for name in peers]
        rows, cells = [], []
        for cell, tally in tallies.items():
            found = _figures(cell, tally, peers)
            cells.append(found)
            rows.append(
                [
                    f"{cell.kind}, {cell.penalty:g}",
                    f"{tally.rate(PLAIN):.1f}",
                    f"{tally.rate(DRAFTED):.1f}",
                    f"{found['speed_up']:.2f}",
                    f"{found['tokens_per_sweep']:.2f}",
                    f"{found['draft_acceptance_rate']:.0%}",
                    *(f"{tally.rate(name):.1f}" for name in peers),
                ]
            )
        num_answers = len(self.prompts) * len(self.penalties)
        figures: dict[str, object] = {
            "model": self.subject.name,
            "weights": self.weights,
            "new_tokens": self.new_tokens,
            "prompts": len(self.prompts),
            "threads": self.threads,
            "penalty_window": self.penalty_window,
            "answers_compared": num_answers,
            "answers_different": 0,
            "cells": cells,
            "peers": [f"{peer.name} {peer.version}" for peer in self.peers],
            "paging": {name: round(value, 3) for name, value in paging.items()},
        }
        title = f"{self.subject.name}, {self.weights}: decoding, {self.new_tokens} tokens an answer"
        return Report("generate", title, columns, rows, figures, curves=_histogram(tallies))


def save_latest(report: Report, path: Path) -> None:
    """The table and its line of JSON as text."""
    from vortex.records.atomic import atomic_write

    widths = [max(map(len, column)) for column in zip(report.columns, *report.rows, strict=True)]
    lines = [report.title, *("  ".join(map(str.ljust, row, widths)) for row in (report.columns, *report.rows))]
    with atomic_write(path) as file:
        file.write(("\n".join([*lines, report.as_json()]) + "\n").encode())


def _figures(cell: Cell, tally: Tally, peers: Sequence[str]) -> dict[str, float | str]:
    counts = tally.counts
    figures: dict[str, float | str] = {
        "kind": cell.kind,
        "repetition_penalty": cell.penalty,
        "plain_tokens_per_s": tally.rate(PLAIN),
        "bad_tokens_per_s": tally.rate(DRAFTED),
        "speed_up": tally.rate(DRAFTED) / tally.rate(PLAIN),
        "tokens_per_sweep": tally.tokens[DRAFTED] / counts["sweeps"],
        "draft_acceptance_rate": counts["accepted"] / max(counts["offered"], 1),
        "mean_acceptance_length": 1 + counts["accepted"] / max(counts["blocks"], 1),
        "num_draft_tokens": counts["offered"],
        "num_accepted_draft_tokens": counts["accepted"],
    }
    for name in peers:
        figures[f"{name} tokens_per_s"] = tally.rate(name)
        figures[f"times {name}"] = tally.rate(DRAFTED) / tally.rate(name)
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in figures.items()}


def _counts(answer: Answer) -> dict[str, int]:
    told = answer.counters
    blocks = round(told.get("num_drafts", 0))
    return {
        "sweeps": round(told["decode_sweeps"]),
        "blocks": blocks,
        "offered": round(told.get("num_draft_tokens", 0)),
        "accepted": round(told.get("num_accepted_draft_tokens", 0)),
        **{
            f"accepted_at_{place}": round(told.get(f"acceptance_histogram_{place}", 0))
            for place in range(1, HISTOGRAM_PLACES + 1)
        },
    }


def _histogram(tallies: Mapping[Cell, Tally]) -> Curves:
    """Of a kind's sweeps with a draft, the share in which the guess at each place stood; at the lowest penalty."""
    lines = {}
    for cell, tally in tallies.items():
        if (blocks := tally.counts["blocks"]) and cell.penalty == min(other.penalty for other in tallies):
            places = range(1, HISTOGRAM_PLACES + 1)
            shares = [(place, tally.counts[f"accepted_at_{place}"] / blocks) for place in places]
            lines[cell.kind] = shares
    return Curves("place in the block", "share of drafts that stood so far", lines, y_is_linear=True)


def _same(plain: Answer, drafted: Answer, prompt: TaskPrompt) -> None:
    if plain.token_ids != drafted.token_ids:
        asked = json.dumps(prompt.text[:60])
        raise CheckFailed(f"drafts changed the answer to {asked} ({prompt.kind}); please report this")


def _name(peer: Peer, *, lookup: bool) -> str:
    name = peer.name.removesuffix(" lookup")
    return f"{name} lookup" if lookup else name


def _load_options(peer: Peer, context: int) -> dict[str, object]:
    return {"context": context} if peer.name == "llama.cpp" else {}
