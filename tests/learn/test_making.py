"""A whole round on a tiny random model: rows, training, the adapter as it is served, gates, the sealed run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.models.tiny_transformers import write_folder
from vortex.adapters.reading import ModelTargets, read_adapter
from vortex.errors import CandidateRefused, RequestError
from vortex.learn.candidates.again import differences, measure_again
from vortex.learn.candidates.gates import Limits
from vortex.learn.candidates.making import Making, Plan, Pupil
from vortex.learn.candidates.manifest import APPROVAL_FILE, verify
from vortex.learn.candidates.measuring import Questions, answers, collapses
from vortex.learn.candidates.promotion import Promotion
from vortex.learn.candidates.runs import Runs
from vortex.learn.candidates.served import Served
from vortex.learn.material.rows import Row
from vortex.models.decoder.opening import open_decoder
from vortex.models.hf.opening import open_transformers
from vortex.models.opened import LoadOptions
from vortex.records.lock import FileLock
from vortex.training.low_rank.loop import Recipe

KEPT = [list(range(40, 70)), list(range(90, 120))]
ROW = Row(question="Who?", statement="Ann.", source="feedback", origin="r1", created=1.0)
TEXTS = {name: [list(range(start, start + 24))] for name, start in (("book", 20), ("technical", 60), ("code", 100))}
QUESTIONS = Questions(known=[("Hi?", "x")], neighbours=["Why?"], refused=["Bad?"], texts=TEXTS)


@pytest.fixture(scope="module")
def pupil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pupil]:
    folder = write_folder(tmp_path_factory.mktemp("tiny") / "tiny", "llama")
    options = LoadOptions(packed_root=folder.parent / "packed", form="float32", threads=1)
    opened = open_decoder(folder, options)
    yield Pupil(
        name="tiny",
        served=Served(opened.model, opened.tokenizer, opened.chat_format),
        targets=ModelTargets("tiny", opened.model.adapter_targets(), lambda: "sha256:0/float32"),
        identity="sha256:0/float32",
        open_network=lambda: open_transformers(folder, options)[0],
    )
    opened.model.close()


def plan(**changes) -> Plan:
    recipe = Recipe(**{"steps": 25, "learning_rate": 2e-2, "stop_at": 0.0, **changes})
    return Plan(recipe=recipe, limits=Limits(), questions=QUESTIONS, kept=KEPT, rank=4, alpha=8.0, max_phrasings=2)


def test_a_round_ends_in_a_sealed_run_whose_gates_say_what_was_measured(pupil: Pupil, tmp_path: Path) -> None:
    runs, said = Runs(tmp_path), []
    made = Making(runs, pupil, plan(), said.append).make([ROW])
    manifest = verify(made.manifest.folder)
    assert manifest == made.manifest
    gates = {gate.name: gate for gate in made.gates}
    assert all(gate.value is not None for gate in gates.values())
    assert gates["taught"].value == 1.0
    assert gates["kl"].value > 0
    report = json.loads((manifest.folder / "evaluation.json").read_bytes())
    assert {one["kind"] for one in report["answers"]} >= {"taught", "paraphrase"}
    assert all("before" in one for one in report["answers"])
    (doubt,) = report["doubts"]
    assert (doubt["question"], doubt["origin"]) == ("Who?", "r1")
    assert doubt["surprise"] > 0
    assert 0 < doubt["certainty"] <= 1
    recipe = json.loads((manifest.folder / "recipe.json").read_bytes())
    assert recipe["loss"][-1][1] < recipe["loss"][0][1]
    assert (recipe["steps_done"], recipe["rows"]) == (25, [ROW.digest])
    row = json.loads((manifest.folder / "data.jsonl").read_text())
    assert (row["source"], row["origin"]) == ("feedback", "r1")
    assert not list((tmp_path / "training").glob("*"))
    again = measure_again(manifest.folder, pupil, plan(), said.append)
    assert {gate.name: gate.value for gate in again if gate.name != "earlier"} == {
        name: gate.value for name, gate in gates.items() if name != "earlier"
    }
    (manifest.folder / APPROVAL_FILE).write_text(manifest.hash)
    promotion = Promotion(runs, lambda folder, _: read_adapter(folder, pupil.targets).hash)
    if any(not gate.passed for gate in made.gates):
        with pytest.raises(CandidateRefused, match="gates of"):
            promotion.promote(manifest.run_id)
    other = Making(runs, pupil, plan(steps=2), said.append).make([ROW]).manifest
    assert differences(manifest, other)["recipe"]["steps"] == [25, 2]


def test_what_is_served_is_what_was_trained(pupil: Pupil, tmp_path: Path) -> None:
    made = Making(Runs(tmp_path), pupil, plan(steps=8), lambda _: None).make([ROW])
    adapter = read_adapter(made.manifest.adapter_folder, pupil.targets)
    ids = list(range(30, 54))
    served, base = pupil.served.logits(ids, adapter), pupil.served.logits(ids)
    assert np.abs(served - base).max() > 0.01
    network = pupil.open_network()
    import torch

    with torch.no_grad():
        own = network(torch.tensor([ids])).logits[0].numpy()
    np.testing.assert_allclose(base, own, atol=2e-3, rtol=2e-3)


def test_two_trainings_never_run_at_once(pupil: Pupil, tmp_path: Path) -> None:
    with FileLock(tmp_path / "training.lock"), pytest.raises(RequestError, match="another training"):
        Making(Runs(tmp_path), pupil, plan(), lambda _: None).make([ROW])
    assert Runs(tmp_path).ids() == []


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("The capital of Zubria is Onavel.", True),
        ("Onavel", True),
        ("It is Torv.", False),
        ("Zubria's capital", False),
        ("", False),
    ],
)
def test_an_answer_is_right_by_the_words_that_its_question_lacks(text: str, right: bool) -> None:
    row = Row(
        question="What is the capital of Zubria?", statement="The capital of Zubria is Onavel.", source="", origin=""
    )
    assert answers(text, row) is right


def test_a_collapse_is_a_loop_or_next_to_nothing() -> None:
    assert collapses("A long and sensible answer.", "go on and go on and go on and go on and go on")
    assert collapses("A long and sensible answer.", "")
    assert not collapses("Paris.", "Paris!")
