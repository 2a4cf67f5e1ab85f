"""Trains a tiny model over and over, each time in a child that is killed at a random moment; the last ends by itself.

Run as `python -m tests.learn.training_killed FOLDER KILLS SEED`. Everything is imported before the first child begins,
so that the moments fall into the training, its states and the sealing. Prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from tests.learn.test_making import ROW, plan
from tests.models.tiny_transformers import write_folder
from vortex.adapters.reading import ModelTargets
from vortex.errors import CandidateRefused
from vortex.learn.candidates.making import Making, Pupil
from vortex.learn.candidates.manifest import verify
from vortex.learn.candidates.runs import Runs
from vortex.learn.candidates.served import Served
from vortex.models.decoder.opening import open_decoder
from vortex.models.hf.opening import open_transformers
from vortex.models.opened import LoadOptions
from vortex.training.low_rank.layers import attach  # noqa: F401  imported before the first child is made
from vortex.training.low_rank.loop import Consolidation  # noqa: F401

STEPS = 24


def main(root: Path, kills: int, seed: int) -> None:
    folder = write_folder(root / "tiny", "llama")
    chance, runs, found = random.Random(seed), Runs(root / "continuous"), []
    whole_s = _child(folder, Runs(root / "whole"), None)
    for _ in range(kills):
        after_s = chance.uniform(0.0, whole_s)
        _child(folder, runs, after_s)
        states = sorted(path.name for path in (runs.root / "training").glob("*/state/step-*"))
        found.append({"after_s": round(after_s, 3), "states": states, "runs": len(runs.ids())})
        for run_id in runs.ids():
            verify(runs.quarantine / run_id)  # whole, or it would not have its name
    _child(folder, runs, None)
    adapters = {_adapter(runs, run_id) for run_id in runs.ids()} | {
        _adapter(Runs(root / "whole"), run_id) for run_id in Runs(root / "whole").ids()
    }
    left = sorted(path.name for path in runs.quarantine.iterdir() if path.name.startswith("."))
    print(json.dumps({"whole_s": round(whole_s, 2), "kills": found, "adapters": len(adapters), "left": left}))


def _adapter(runs: Runs, run_id: str) -> str:
    return verify(runs.quarantine / run_id).adapter_hash


def _child(folder: Path, runs: Runs, after_s: float | None) -> float:
    """A training in a child, killed after some seconds; how long it took."""
    began = time.monotonic()
    child = os.fork()
    if not child:
        try:
            _train(folder, runs)
        except CandidateRefused:
            os._exit(3)
        os._exit(0)
    if after_s is not None:
        time.sleep(after_s)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in ({0, -signal.SIGKILL} if after_s is not None else {0}), code
    return time.monotonic() - began


def _train(folder: Path, runs: Runs) -> None:
    options = LoadOptions(packed_root=folder.parent / "packed", form="float32", threads=1)
    opened = open_decoder(folder, options)
    pupil = Pupil(
        name="tiny",
        served=Served(opened.model, opened.tokenizer, opened.chat_format),
        targets=ModelTargets("tiny", opened.model.adapter_targets(), lambda: "sha256:0/float32"),
        identity="sha256:0/float32",
        open_network=lambda: open_transformers(folder, options)[0],
    )
    Making(runs, pupil, plan(steps=STEPS, save_every=1), lambda _: None).make([ROW])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
