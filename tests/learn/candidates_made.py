"""Sealed runs made of a random adapter, without a model."""

from __future__ import annotations

import json
from pathlib import Path

from tests.adapters.random_adapters import write_random
from vortex.adapters.reading import ModelTargets, read_adapter
from vortex.learn.candidates.gates import RULES, Limits, gates_of
from vortex.learn.candidates.manifest import ADAPTER_FOLDER, DATA_FILE, EVALUATION_FILE, RECIPE_FILE, seal
from vortex.learn.candidates.promotion import Promotion
from vortex.learn.candidates.runs import Runs, new_run_id

SHAPES = {"model.layers.0.self_attn.q_proj": (8, 8), "model.layers.0.mlp.down_proj": (8, 12)}
TARGETS = ModelTargets("tiny", SHAPES)
GOOD: dict[str, tuple[float | None, str]] = {name: (1.0 if rule.at_least else 0.0, "") for name, rule in RULES.items()}


def hash_of(folder: Path, _: str) -> str:
    return read_adapter(folder, TARGETS).hash


def make_run(
    runs: Runs,
    *,
    seed: int = 0,
    measured: dict[str, tuple[float | None, str]] = GOOD,
    sources: tuple[str, ...] = ("feedback",),
) -> str:
    run_id = new_run_id()
    with runs.making(run_id) as draft:
        write_random(draft / ADAPTER_FOLDER, SHAPES, seed=seed)
        (draft / DATA_FILE).write_text('{"question": "q", "statement": "s"}\n')
        (draft / RECIPE_FILE).write_text(json.dumps({"seed": seed}))
        gates = [gate.to_json() for gate in gates_of(measured, Limits())]
        (draft / EVALUATION_FILE).write_text(json.dumps({"gates": gates}))
        adapter_hash = hash_of(draft / ADAPTER_FOLDER, "tiny")
        said = {"run_id": run_id, "model": "tiny", "adapter_hash": adapter_hash, "created": "now"}
        seal(draft, {**said, "sources": list(sources)})
    return run_id


def promotion(runs: Runs, *, presence: bool = False) -> Promotion:
    return Promotion(runs, hash_of, presence=presence)
