"""The two measurements of holding models, on models that are there in a moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine import test_prompt_store as kept
from vortex.backends.fake import FakeBackend
from vortex.bench.measurement import CheckFailed, run_measurement
from vortex.bench.second_turn import SecondTurnMeasurement
from vortex.bench.swapping import SwapMeasurement
from vortex.engine.backend import LocalBackend
from vortex.engine.options import EngineOptions
from vortex.engine.prompt_store import PromptStoreOptions
from vortex.engine.several import Offer, SeveralModels, SeveralOptions, Shelf
from vortex.protocols import ChatBackend
from vortex.tokenizer.byte_tokenizer import ByteChatFormat, ByteTokenizer
from vortex.types import ModelCard

folder = kept.folder
model_folder = kept.model_folder


def measured(prefix_cache_bytes: int) -> SecondTurnMeasurement:
    def open_backend(store: PromptStoreOptions | None) -> ChatBackend:
        options = EngineOptions(prefix_cache_bytes=prefix_cache_bytes, prompt_store=store)
        return LocalBackend(kept.native_model(), ByteTokenizer(), ByteChatFormat(), ModelCard(name="m"), options)

    return SecondTurnMeasurement(open_backend, "m", 600, 1, lambda tokens: "abcd" * (tokens // 4))


def test_the_second_turn_finds_what_the_first_left() -> None:
    figures = run_measurement(measured(50_000_000)).figures
    assert (figures["cached_tokens"], figures["kept_bytes"]) == (512, figures["kept_bytes"])
    assert figures["after_restart_first_token_s"] > 0


def test_a_cache_that_keeps_nothing_is_not_timed(tmp_path: Path) -> None:
    measurement = measured(50_000_000)
    blind = SecondTurnMeasurement(lambda _: measurement.open_backend(None), "m", 600, 1, measurement.text_of)
    with pytest.raises(CheckFailed, match="nothing came back"):
        run_measurement(blind)


def test_swaps_are_counted_and_compared_with_opening() -> None:
    def offer(name: str) -> Offer:
        return Offer(ModelCard(name=name), 60)

    def house() -> SeveralModels:
        shelf = Shelf(offers=lambda: [offer("a"), offer("b")], open=lambda name: FakeBackend(name=name))
        return SeveralModels(offer("a"), FakeBackend(name="a"), shelf, SeveralOptions(budget_bytes=100))

    figures = run_measurement(SwapMeasurement(house, lambda name: FakeBackend(name=name), ["a", "b"], 3)).figures
    assert (figures["failed_requests"], figures["turns"]) == (0, 3)
