"""What drafts are worth, and whether they change answers, measured on a model without weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from vortex.bench.asking import Subject
from vortex.bench.blocks import BlocksMeasurement, save_latest
from vortex.bench.equality import DRAFTERS, SAMPLINGS, STREAMS, WIDTHS, EqualityMeasurement, covering_ways
from vortex.bench.measurement import CheckFailed, run_measurement
from vortex.bench.task_prompts import KINDS, TaskPrompt, spread, task_prompts
from vortex.decode.drafting.suffix_drafter import SuffixDrafter
from vortex.models.hash_model import HashModel, HashModelOptions
from vortex.tokenizer.byte_tokenizer import ByteChatFormat, ByteTokenizer

SHORT = [TaskPrompt(kind, f"{kind} this text") for kind in KINDS]


def subject(**options) -> Subject:
    model = HashModel(HashModelOptions(looks_back=1, row_share=0.05, **options))
    return Subject("hash", model, ByteTokenizer(), ByteChatFormat())


def test_there_are_two_hundred_prompts_of_six_kinds():
    prompts = task_prompts()
    assert len({prompt.text for prompt in prompts}) >= 200
    assert {prompt.kind for prompt in prompts} == set(KINDS)
    assert [prompt.kind for prompt in spread(prompts, 2)] == [kind for kind in KINDS for _ in range(2)]


def test_drafted_decoding_is_timed_beside_plain_decoding(tmp_path: Path):
    report = run_measurement(BlocksMeasurement(subject(), lambda: [SuffixDrafter()], SHORT, new_tokens=40))
    assert report.figures["answers_compared"] == 2 * len(SHORT)
    cells = report.figures["cells"]
    assert {(cell["kind"], cell["repetition_penalty"]) for cell in cells} == {(k, p) for k in KINDS for p in (1.0, 1.1)}
    assert max(cell["tokens_per_sweep"] for cell in cells) > 1.5
    save_latest(report, tmp_path / "bench" / "latest.txt")
    assert "tokens/sweep" in (tmp_path / "bench" / "latest.txt").read_text()


@pytest.mark.long
def test_a_model_whose_answers_depend_on_blocks_is_not_timed():
    class Fickle(HashModel):
        """Remembers how many rows came together."""

        def sweep(self, spans):
            for span in spans:
                if len(span.token_ids) > 1 and span.state.length > 32:
                    span.state._tail = (7,)
            return super().sweep(spans)

    model = Fickle(HashModelOptions(looks_back=2, row_share=0.0, delay_s=6e-3))  # or drafting would not be worth it
    fickle = Subject("fickle", model, ByteTokenizer(), ByteChatFormat())
    with pytest.raises(CheckFailed, match="drafts changed the answer"):
        run_measurement(BlocksMeasurement(fickle, lambda: [SuffixDrafter()], SHORT[:2], new_tokens=60))


@pytest.mark.long
def test_equality_covers_every_pair_of_values_and_finds_no_difference():
    ways = covering_ways(("resident", "paged"))
    for width in WIDTHS:
        assert {way.drafter for way in ways if way.width == width} == set(DRAFTERS)
        assert {(way.sampling, way.streams) for way in ways} == {(s, n) for s in SAMPLINGS for n in STREAMS}
    held = {"resident": subject(context_length=None), "paged": subject(context_length=None)}
    report = run_measurement(EqualityMeasurement(held, SHORT[:2], new_tokens=80, stride=2))
    assert report.figures["differences"] == 0
    assert report.figures["answers_compared"] == len(ways)
    halves = [
        run_measurement(EqualityMeasurement(held, SHORT[:2], new_tokens=48, stride=2, part=(part, 2)))
        for part in (1, 2)
    ]
    assert sum(half.figures["ways"] for half in halves) == len(ways)
    assert {tuple(row[:5]) for half in halves for row in half.rows} == {tuple(map(str, way)) for way in ways}
