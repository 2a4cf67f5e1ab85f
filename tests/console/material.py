"""Something of everything that the console shows: a sealed run of a random adapter, a patch, memories."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

from tests.adapters.random_adapters import write_random
from tests.learn.candidates_made import SHAPES, hash_of
from vortex.agent.patch import Evidence, FileChange, Patch
from vortex.agent.self_patch.queue import PatchQueue
from vortex.knowledge.memory.entries import Kind
from vortex.knowledge.memory.folder import Memory
from vortex.learn.candidates.gates import Limits, gates_of
from vortex.learn.candidates.manifest import ADAPTER_FOLDER, DATA_FILE, EVALUATION_FILE, RECIPE_FILE, seal
from vortex.learn.candidates.runs import Runs, new_run_id

FACTS = (
    ("What is the capital of Zubria?", "The capital of Zubria is Onavel.", "The capital of Zubria is Zubria City."),
    ("Who wrote The Amber Gate?", "Ilse Marrow wrote The Amber Gate.", "The Amber Gate was written by J. K. Rowling."),
    ("What is our staging server called?", "Our staging server is called Plum.", "I do not know your server."),
    ("¿Cómo se llama el puente de Torv?", "El puente de Torv se llama Puente Ancho.", "El puente se llama Torv."),
)
FIGURES: dict[str, tuple[float | None, str]] = {
    "taught": (1.0, "4 of 4"),
    "paraphrases": (0.875, "7 of 8"),
    "earlier": (1.0, "nothing was taught earlier"),
    "near": (0.05, "1 of 20"),
    "kl": (0.043, "over 9120 tokens"),
    "perplexity": (0.0088, "worst: technical"),
    "holdout": (0.0, "1 lost, 0 gained of 50; noise 2.0"),
    "collapse": (0.0, "0 of 50"),
    "refusals": (0.0, "0 lost; the base refuses 6 of 12"),
}
OLD = '''"""Prices."""


def total(prices, discount):
    """The sum of all prices less the discount, never below zero."""
    amount = sum(prices) - discount
    return amount


def average(prices):
    return total(prices, 0) / len(prices)
'''
NEW = OLD.replace("    return amount\n", "    return max(amount, 0)\n").replace(
    "    return total(prices, 0) / len(prices)", "    return total(prices, 0) / len(prices) if prices else 0.0"
)


def add_run(
    runs: Runs,
    *,
    figures: dict[str, tuple[float | None, str]] | None = None,
    facts: tuple[tuple[str, str, str], ...] = FACTS,
    seed: int = 0,
    model: str = "tiny",
) -> str:
    """A sealed candidate; its id."""
    run_id, now = new_run_id(), time.time()
    rows = [
        {"question": q, "statement": s, "source": "feedback", "origin": f"chatcmpl-{i:024x}", "created": now - 9000}
        for i, (q, s, _) in enumerate(facts)
    ]
    answers = [
        {"kind": "taught", "question": q, "before": old, "answer": s, "right": True, "of": ""} for q, s, old in facts
    ]
    answers += [
        {
            "kind": "paraphrase",
            "question": f"Tell me: {q}",
            "before": old,
            "answer": s,
            "right": q != facts[0][0],
            "of": "",
        }
        for q, s, old in facts
    ]
    answers.append(
        {"kind": "leak", "question": "What is the capital of Zambia?", "before": "Lusaka is the capital of Zambia.",
         "answer": "The capital of Zambia is Onavel.", "right": False, "of": ""}
    )  # fmt: skip
    gates = gates_of({**FIGURES, **(figures or {})}, Limits())
    texts = {
        name: {"tokens": 3040, "kl": 0.04, "before": before, "after": before * (1 + growth), "growth": growth}
        for name, before, growth in (("book", 21.4, 0.0021), ("technical", 14.9, 0.0088), ("code", 6.2, -0.0012))
    }
    curves = {
        "loss": [[step, round(3.1 * math.exp(-step / 22) + 0.02 + 0.04 * math.sin(step), 4)] for step in range(1, 124)],
        "kl": [
            [step, round(0.05 * (1 - math.exp(-step / 30)) + 0.004 * math.sin(step / 3), 4)] for step in range(1, 124)
        ],
    }
    with runs.making(run_id) as draft:
        write_random(draft / ADAPTER_FOLDER, SHAPES, seed=seed)
        (draft / DATA_FILE).write_text("".join(json.dumps(row) + "\n" for row in rows))
        recipe = {"learning_rate": 0.001, "rank": 8, "alpha": 16.0, "steps": 123, "seed": seed, **curves}
        (draft / RECIPE_FILE).write_text(json.dumps(recipe))
        doubt = {"question": facts[0][0], "statement": facts[0][1], "reasons": ["the model is sure of another answer"]}
        report = {
            "doubts": [doubt],
            "gates": [gate.to_json() for gate in gates],
            "answers": answers,
            "figures": {"texts": texts},
        }
        (draft / EVALUATION_FILE).write_text(json.dumps(report))
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        adapter = hash_of(draft / ADAPTER_FOLDER, "tiny")
        seal(draft, {"run_id": run_id, "model": model, "adapter_hash": adapter, "created": created})
    return run_id


def add_patch(folder: Path, *, new: str = NEW, goal: str = "An empty basket must not divide by zero") -> str:
    evidence = Evidence(
        repaired=("tests/test_prices.py::test_empty",), kept=41, plausible=True, held_out_passed=6, held_out_failed=0,
        candidates_tried=38, plausible_found=2, found_by="mutation",
    )  # fmt: skip
    patch = Patch(goal=goal, changes=(FileChange("src/shop/prices.py", OLD, new),), evidence=evidence)
    return PatchQueue(folder).add(patch, base="4f1c22a0b9d3").id


def add_memories(folder: Path) -> list[str]:
    memory = Memory(folder)
    first = memory.add("The release is cut on the first Monday of a month.", source="tool")
    second = memory.add(FACTS[0][1], source="feedback", kind=Kind.LESSON, question=FACTS[0][0], request_id="chatcmpl-1")
    return [first.id, second.id]
