"""The measurement itself: with a model that writes nonsense, everything is valid all the same."""

from __future__ import annotations

import asyncio

import pytest

from vortex.bench.measurement import run_measurement
from vortex.bench.wire.structured import StructuredMeasurement, load_schemas
from vortex.decode.structure.structured import StructuredDecoding
from vortex.engine.backend import LocalBackend
from vortex.engine.intake import AnswerRules
from vortex.models.hash_model import HashModel
from vortex.tokenizer.byte_tokenizer import ByteChatFormat, ByteTokenizer
from vortex.types import ModelCard


@pytest.mark.long
def test_nonsense_fits_every_schema() -> None:
    assert len(load_schemas()) == 20
    structured, tokenizer = StructuredDecoding(ByteTokenizer()), ByteTokenizer()
    rules = AnswerRules(constrain=structured.constrain, read_answer=structured.read_answer)
    backend = LocalBackend(HashModel(), tokenizer, ByteChatFormat(), ModelCard(name="hash"), rules=rules)
    with asyncio.Runner() as runner:
        report = run_measurement(StructuredMeasurement(backend, runner, 20, 4, limits_tokens=(180, 160)))
        runner.run(backend.close())
    assert (report.figures["valid_answers"], report.figures["valid_calls"]) == (20, 4)
