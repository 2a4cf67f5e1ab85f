"""The one door: every kind of model comes out of it the same way, under the name that found it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vortex.errors import ModelNotFound
from vortex.hub.catalogue import SHIPPED_CORE
from vortex.hub.names import resolve
from vortex.models.decoder.model import Decoder
from vortex.models.hash_model import HashModel
from vortex.models.opened import LoadOptions
from vortex.models.opening import open_hash, open_resolved
from vortex.types import ChatMessage, Span
from vortex.vblocks.model import VortexCore


@pytest.mark.parametrize(("name", "kind", "draft_heads"), [("smollm2-135m", Decoder, 0), (SHIPPED_CORE, VortexCore, 2)])
def test_kinds_are_told_apart_by_their_files(name: str, kind: type, draft_heads: int) -> None:
    resolved = resolve(name)
    opened = open_resolved(resolved, LoadOptions(packed_root=resolved.made_folder, device="cpu"))
    assert isinstance(opened.model, kind)
    assert (opened.name, opened.path, opened.origin) == (resolved.name, resolved.path, resolved.origin)
    assert opened.licence
    assert opened.model.draft_heads == draft_heads
    ids = opened.chat_format.encode([ChatMessage(role="user", content="Hello")])
    output = opened.model.sweep([Span(opened.model.new_state(), ids)])
    assert output.logits.shape == (1, opened.model.vocab_size)
    assert (output.draft_logits is not None) == bool(draft_heads)
    opened.model.close()


def test_a_name_of_ones_own_is_kept_and_a_cores_own_licence_counts(tmp_path: Path) -> None:
    resolved = replace(resolve(SHIPPED_CORE), name="mine", licence="another")
    opened = open_resolved(resolved, LoadOptions(packed_root=tmp_path))
    assert opened.name == "mine"
    assert opened.licence is not None
    assert "Apache-2.0" in opened.licence


def test_the_hash_model_needs_no_files() -> None:
    opened = open_hash()
    assert isinstance(opened.model, HashModel)
    assert (opened.path, opened.model.draft_heads, opened.model.vocab_size) == (None, 0, opened.tokenizer.vocab_size)


@pytest.mark.parametrize("by_transformers", [False, True])
def test_what_is_not_there_is_one_clear_line(by_transformers: bool, tmp_path: Path) -> None:
    resolved = replace(resolve(SHIPPED_CORE), path=tmp_path / "absent.gguf")
    with pytest.raises(ModelNotFound, match="no model at"):
        open_resolved(resolved, LoadOptions(packed_root=tmp_path, threads=1), by_transformers=by_transformers)
