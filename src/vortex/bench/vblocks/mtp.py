"""What a core's own further heads are worth as drafts: the same greedy answers without and with BAD, prompt by prompt.

Two groups of questions: of the lists that the core that ships was trained on, and of the same kinds about words it was
never asked about. Answers end where the core ends them. Every answer is given both ways, in turns; a difference of one
token is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from vortex.bench.asking import Answer, Engine, Subject
from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.decode.drafting.head_drafter import HeadDrafter
from vortex.types import SamplingOptions

BAR = 1.3  # times the speed of plain decoding
FORMS = (
    "What is {}?", "Tell me about {}.", "Describe {} in one sentence.", "Tell me a fun fact about {}.",
    "What does {} look like?", "Why do people like {}?", "Tell me a story about {}.",
)  # fmt: skip
WORDS = (
    "a walrus", "a hamster", "a flute", "a sofa", "a lantern", "a scarf", "a peach", "a cactus", "a helicopter",
    "a submarine", "a whistle", "a pillow", "a carpet", "a trumpet", "a peacock", "a squid",
)  # fmt: skip


def held_out_questions() -> list[str]:
    """Each word in two forms."""
    return [FORMS[(2 * index + turn) % len(FORMS)].format(word) for index, word in enumerate(WORDS) for turn in (0, 1)]


@dataclass(slots=True)
class _Group:
    """What a group of questions took."""

    tokens: int = 0
    plain_s: float = 0.0
    drafted_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, slow: Answer, fast: Answer) -> None:
        self.tokens += len(slow.token_ids) - 1
        self.plain_s += slow.decode_s
        self.drafted_s += fast.decode_s
        self.counts["answers"] += 1
        self.counts["sweeps"] += round(fast.counters["decode_sweeps"])
        self.counts["offered"] += round(fast.counters.get("num_draft_tokens", 0))
        self.counts["accepted"] += round(fast.counters.get("num_accepted_draft_tokens", 0))

    def figures(self) -> dict[str, float]:
        return {
            "answers": self.counts["answers"],
            "answers_different": 0,
            "tokens": self.tokens,
            "speed_up": round(self.plain_s / self.drafted_s, 3),
            "tokens_per_sweep": round(self.tokens / self.counts["sweeps"], 3),
            "acceptance": round(self.counts["accepted"] / max(1, self.counts["offered"]), 3),
            "draft_tokens": self.counts["offered"],
            "plain_ms_per_token": round(1e3 * self.plain_s / self.tokens, 4),
            "drafted_ms_per_token": round(1e3 * self.drafted_s / self.tokens, 4),
        }


@dataclass(frozen=True, slots=True)
class MtpMeasurement:
    """heads: further heads in use. groups: questions by name. rounds: how often every question is asked."""

    subject: Subject
    heads: int
    groups: Mapping[str, Sequence[str]]
    new_tokens: int = 64
    rounds: int = 3
    progress: Callable[[str], None] = lambda line: None

    def check(self) -> None:
        if not self.heads:
            raise CheckFailed("this core has no further heads; name one that has with --model")

    def measure(self) -> Report:
        found = {name: self._ask(name, questions).figures() for name, questions in self.groups.items()}
        rows = [
            [
                name,
                f"{one['plain_ms_per_token']:.3f}",
                f"{one['drafted_ms_per_token']:.3f}",
                f"{one['speed_up']:.2f}",
                f"{one['tokens_per_sweep']:.2f}",
                f"{one['acceptance']:.0%}",
            ]
            for name, one in found.items()
        ]
        return Report(
            name="core mtp",
            title=f"{self.subject.name}, {self.heads} further heads as drafts: the same greedy answers",
            columns=["questions", "plain, ms per token", "with heads", "times", "tokens per sweep", "drafts accepted"],
            rows=rows,
            figures={
                "model": self.subject.name,
                "heads": self.heads,
                "groups": found,
                "holds": {name: one["speed_up"] >= BAR for name, one in found.items()},
            },
            bars={name: one["speed_up"] for name, one in found.items()},
            bars_unit="times plain decoding",
        )

    def _ask(self, name: str, questions: Sequence[str]) -> _Group:
        """Engines of its own, whose drafts know this group alone."""
        group = _Group()
        drafters = (HeadDrafter(),)
        with Engine(self.subject) as plain, Engine(self.subject, drafters, max_block=self.heads + 1) as drafted:
            self._once(plain, drafted, questions[0])
            for number in range(self.rounds):
                for question in questions:
                    slow, fast = self._once(plain, drafted, question)
                    if len(slow.token_ids) > 1:
                        group.add(slow, fast)
                self.progress(f"{name}: round {number + 1} of {self.rounds}")
        return group

    def _once(self, plain: Engine, drafted: Engine, question: str) -> tuple[Answer, Answer]:
        request = self.subject.request(question, SamplingOptions(), self.new_tokens)
        slow, fast = plain.ask(request), drafted.ask(request)
        if slow.token_ids != fast.token_ids:
            raise CheckFailed(f"the heads' drafts changed the answer to {question!r}; please report this")
        return slow, fast
