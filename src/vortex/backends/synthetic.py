"""An engine whose behaviour is known, to try decision machinery on: how often it is right is a formula.

Asked plainly it fails in proportion to a task's difficulty; asked for care it nearly always gets it right, at several
times the tokens. Its first token's entropy says nothing (as on thinking models), the following ones follow difficulty.
Everything is drawn by hashing the prompt, so a run repeats.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vortex.backends.fake_engine import Script

CAREFUL_RIGHT = 0.97
CAREFUL_WORDS = 120
PLAIN_WORDS = 20


@dataclass(frozen=True, slots=True)
class Known:
    """What the engine knows of a prompt: the right answer and how hard it is (0..1)."""

    answer: str
    difficulty: float


def synthetic_script(known: Mapping[str, Known], instruction: str) -> Script:
    """A script for FakeEngine. Prompts it does not know are answered with a word."""

    def find(body: Mapping[str, Any]) -> tuple[str, Known, bool]:
        content = str(body["messages"][-1]["content"])
        prompt = content.removesuffix(f"\n\n{instruction}")
        return prompt, known.get(prompt, Known("", 0.0)), prompt != content

    def answer(body: dict[str, Any]) -> str:
        prompt, task, careful = find(body)
        chance = CAREFUL_RIGHT if careful else 1.0 - task.difficulty
        right = draw(prompt, "right") < chance
        words = "hm " * (CAREFUL_WORDS if careful else PLAIN_WORDS)
        return words + ((task.answer or "hello") if right else "unknown")

    def entropy(body: dict[str, Any], index: int) -> float:
        prompt, task, _ = find(body)
        noise = draw(prompt, f"entropy {index}")
        return noise if index == 0 else min(1.0, 0.7 * task.difficulty + 0.3 * noise)

    return Script(model="synthetic", answer=answer, entropy=entropy)


def draw(prompt: str, purpose: str) -> float:
    """Uniform in 0..1, the same for the same words."""
    digest = hashlib.blake2b(f"{purpose}\n{prompt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
