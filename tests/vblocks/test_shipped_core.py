"""The core that comes with the program: small, whole, and it talks."""

from __future__ import annotations

import pytest

from vortex.config.loading import SettingsSources, load_settings
from vortex.hub.catalogue import SHIPPED, SHIPPED_CORE
from vortex.hub.names import resolve
from vortex.models.cores import open_core
from vortex.models.opened import LoadOptions
from vortex.types import ChatMessage, Span
from vortex.vblocks.checkpoint import read_core

PROFILES = ("dev_small", "core_only", "rtx4080_16gb_vortexx_next")


def test_it_is_small_and_says_where_it_is_from() -> None:
    folder = SHIPPED[SHIPPED_CORE]
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert size < 7_000_000
    notes = read_core(folder).notes
    assert "Apache-2.0" in notes["licence"]
    assert notes["data"]


def test_a_name_finds_it_without_a_network() -> None:
    found = resolve(SHIPPED_CORE, allow_download=False)
    assert (found.name, found.path) == (SHIPPED_CORE, SHIPPED[SHIPPED_CORE].resolve())


@pytest.mark.parametrize("profile", PROFILES)
def test_profiles_ask_for_it(profile: str) -> None:
    assert load_settings(SettingsSources(profile=profile)).settings.model.name == SHIPPED_CORE


@pytest.mark.parametrize(
    ("question", "word"),
    [("What is the capital of France?", "Paris"), ("Hello", "Hello"), ("What is the opposite of hot?", "cold")],
)
def test_it_answers(question: str, word: str, tmp_path) -> None:
    core = open_core(SHIPPED[SHIPPED_CORE], LoadOptions(packed_root=tmp_path))
    ids, answer = core.chat_format.encode([ChatMessage(role="user", content=question)]), []
    state = core.model.new_state()
    while len(answer) < 24:
        logits = core.model.sweep([Span(state, ids)]).logits[-1]
        state.commit(len(ids))
        ids = [int(logits.argmax())]
        if ids[0] in core.tokenizer.end_ids:
            break
        answer += ids
    assert word in core.tokenizer.decode(answer)
    assert ids[0] in core.tokenizer.end_ids, "it ends its answer"
