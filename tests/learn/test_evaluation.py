"""The figures of `vortex eval`, on a model whose logits are known."""

from __future__ import annotations

import json
import math

import pytest
from typer.testing import CliRunner

from vortex.cli.commands import whole_app
from vortex.learn.evaluation import Evaluation, EvaluationOptions
from vortex.models.hash_model import HashModel, HashModelOptions
from vortex.tokenizer.byte_tokenizer import ByteTokenizer


@pytest.fixture
def evaluation() -> Evaluation:
    options = EvaluationOptions(tokens=300, window=64, sentences=4, recall_tokens=(80,), recall_trials=2)
    return Evaluation(HashModel(HashModelOptions(context_length=None)), ByteTokenizer(), options)


def test_a_byte_models_bits_per_byte_follow_from_its_perplexity(evaluation: Evaluation) -> None:
    found = evaluation.text()
    assert found["bits_per_byte"] == pytest.approx(math.log2(found["perplexity"]), abs=1e-4)
    assert found["perplexity"] > 200, "a hash knows nothing"


def test_a_model_that_knows_nothing_guesses(evaluation: Evaluation) -> None:
    assert evaluation.cloze()["cloze"] < 0.6
    assert evaluation.last_words()["last_word"] == 0
    assert evaluation.recall() == {"recall": {"80": 0.0}}
    assert evaluation.throughput()["decode_tokens_per_second"] > 0


def test_a_model_that_copies_recalls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that always expects what followed the last place like this one finds the key."""
    from tests.learn.copying_model import CopyingModel

    options = EvaluationOptions(recall_tokens=(120, 200), recall_trials=4)
    found = Evaluation(CopyingModel(262), ByteTokenizer(), options).recall()
    assert found == {"recall": {"120": 1.0, "200": 1.0}}


def test_the_command_prints_a_table_and_a_line() -> None:
    arguments = ["eval", "--set", "model.backend=hash", "--tokens", "64", "--window", "32", "--recall", "64"]
    result = CliRunner().invoke(whole_app(), arguments)
    assert result.exit_code == 0, result.output
    line = json.loads(result.stdout.strip().splitlines()[-1])
    assert {"perplexity", "bits_per_byte", "cloze", "last_word", "recall", "decode_tokens_per_second"} <= set(line)
