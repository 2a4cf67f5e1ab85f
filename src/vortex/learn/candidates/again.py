"""A sealed run looked at again: measured anew as it is served now, and compared with another run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vortex.adapters.reading import read_adapter
from vortex.learn.candidates.gates import Gate, gates_of, read_gates
from vortex.learn.candidates.making import Plan, Pupil
from vortex.learn.candidates.manifest import DATA_FILE, EVALUATION_FILE, RECIPE_FILE, Manifest, verify
from vortex.learn.candidates.measuring import Measuring
from vortex.learn.material.rows import Row
from vortex.records.jsonl import read_jsonl


def measure_again(folder: Path, pupil: Pupil, plan: Plan, say: Callable[[str], None]) -> list[Gate]:
    """All rows of the run as taught ones. Raises CandidateRefused, AdapterError."""
    manifest = verify(folder)
    adapter = read_adapter(manifest.adapter_folder, pupil.targets)
    rows = [Row.from_json(line) for line in read_jsonl(folder / DATA_FILE)]
    found = Measuring(pupil.served, adapter, plan.questions, say).measure(rows, ())
    return gates_of(found.gates, plan.limits)


def differences(one: Manifest, other: Manifest) -> dict[str, dict[str, Any]]:
    """By part (rows, recipe, gates), what differs: (of one, of the other)."""
    left, right = _parts(one), _parts(other)
    return {
        part: {
            key: [left[part].get(key), right[part].get(key)]
            for key in sorted({*left[part], *right[part]})
            if left[part].get(key) != right[part].get(key)
        }
        for part in left
    }


def _parts(manifest: Manifest) -> dict[str, dict[str, Any]]:
    recipe: dict[str, Any] = json.loads((manifest.folder / RECIPE_FILE).read_bytes())
    rows = {str(line["question"]): str(line["statement"]) for line in read_jsonl(manifest.folder / DATA_FILE)}
    gates = {gate.name: gate.value for gate in read_gates(manifest.folder / EVALUATION_FILE)}
    long = {"loss", "kl", "rows"}
    return {"rows": rows, "recipe": {key: value for key, value in recipe.items() if key not in long}, "gates": gates}
