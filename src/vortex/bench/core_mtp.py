"""What a core's own further heads are worth as drafts: the same greedy answers without and with BAD, prompt by prompt.

Questions are of the kinds that the core that ships was trained on, about words it was never asked about. Answers end
where the core ends them. Every answer is given both ways, in turns; a difference of one token is an error.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vortex.bench.asking import Answer, Engine, Subject
from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.decode.head_drafter import HeadDrafter
from vortex.learn.dialogues import is_asked_about
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
    assert not any(is_asked_about(word.split()[-1]) for word in WORDS), "these words are not held out"
    return [FORMS[(2 * index + turn) % len(FORMS)].format(word) for index, word in enumerate(WORDS) for turn in (0, 1)]


@dataclass(frozen=True, slots=True)
class MtpMeasurement:
    """heads: further heads in use. rounds: how often every question is asked."""

    subject: Subject
    heads: int
    questions: Sequence[str]
    new_tokens: int = 64
    rounds: int = 3
    progress: Callable[[str], None] = lambda line: None

    def check(self) -> None:
        if not self.heads:
            raise CheckFailed("this core has no further heads; name one that has with --model")

    def measure(self) -> Report:
        plain_s, drafted_s, ratios = 0.0, 0.0, []
        tokens: int = 0
        counts: Counter[str] = Counter()
        with (
            Engine(self.subject) as plain,
            Engine(self.subject, (HeadDrafter(),), max_block=self.heads + 1) as drafted,
        ):
            self._once(plain, drafted, self.questions[0])
            for number in range(self.rounds):
                for question in self.questions:
                    slow, fast = self._once(plain, drafted, question)
                    if len(slow.token_ids) < 2:
                        continue
                    tokens += len(slow.token_ids) - 1
                    plain_s, drafted_s = plain_s + slow.decode_s, drafted_s + fast.decode_s
                    ratios.append(slow.decode_s / fast.decode_s)
                    told = fast.counters
                    counts["sweeps"] += round(told["decode_sweeps"])
                    counts["offered"] += round(told.get("num_draft_tokens", 0))
                    counts["accepted"] += round(told.get("num_accepted_draft_tokens", 0))
                self.progress(f"round {number + 1} of {self.rounds}")
        per_sweep, accepted = tokens / counts["sweeps"], counts["accepted"] / max(1, counts["offered"])
        times = plain_s / drafted_s
        ways = {"plain": plain_s, "with its heads": drafted_s}
        return Report(
            name="core mtp",
            title=f"{self.subject.name}, {self.heads} further heads: {times:.2f} times plain decoding, same answers",
            columns=["greedy answers", "ms per token", "tokens/s", "tokens per sweep", "drafts accepted"],
            rows=[
                ["plain", f"{1e3 * plain_s / tokens:.3f}", f"{tokens / plain_s:.0f}", "1.00", ""],
                [
                    "with its heads",
                    f"{1e3 * drafted_s / tokens:.3f}",
                    f"{tokens / drafted_s:.0f}",
                    f"{per_sweep:.2f}",
                    f"{accepted:.0%}",
                ],
            ],
            figures={
                "model": self.subject.name,
                "heads": self.heads,
                "answers": len(ratios),
                "answers_different": 0,
                "tokens": tokens,
                "speed_up": round(times, 3),
                "speed_up_median_answer": round(statistics.median(ratios), 3),
                "tokens_per_sweep": round(per_sweep, 3),
                "acceptance": round(accepted, 3),
                "draft_tokens": counts["offered"],
                "ms_per_token": {name: round(1e3 * seconds / tokens, 4) for name, seconds in ways.items()},
                "holds": times >= BAR,
            },
            bars={name: tokens / seconds for name, seconds in ways.items()},
            bars_unit="tokens/s",
        )

    def _once(self, plain: Engine, drafted: Engine, question: str) -> tuple[Answer, Answer]:
        request = self.subject.request(question, SamplingOptions(), self.new_tokens)
        slow, fast = plain.ask(request), drafted.ask(request)
        if slow.token_ids != fast.token_ids:
            raise CheckFailed(f"the heads' drafts changed the answer to {question!r}; please report this")
        return slow, fast
