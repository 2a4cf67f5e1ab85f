"""From a folder to a swept model: paged as resident, and refusals before a weight is read."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from tests.models.tiny_transformers import one_thread, tiny_config, write_folder
from vortex.errors import ConfigError, MissingCapability, ModelFileError, ModelNotFound, UnsupportedModel
from vortex.machine.installation import add_extra
from vortex.models.hf.folder import CHECKSUMS, is_whole
from vortex.models.hf.opening import check_supported, open_hf
from vortex.models.opened import LoadOptions
from vortex.types import Span, Want

pytestmark = pytest.mark.usefixtures("one_thread")
__all__ = ["one_thread"]


def logits_of(folder: Path, made: Path, **options: object) -> tuple[np.ndarray, dict[str, float]]:
    loaded = open_hf(folder, LoadOptions(packed_root=made, device="cpu", threads=1, **options))
    spans = [Span(loaded.model.new_state(), ids, Want.ALL_LOGITS) for ids in ([3, 4, 5], list(range(2, 30)))]
    logits = loaded.model.sweep(spans).logits
    counters = dict(loaded.model.counters())
    loaded.model.close()
    return logits, counters


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_paged_model_has_the_resident_bits(name: str, tmp_path: Path) -> None:
    folder, made = write_folder(tmp_path / "model", name), tmp_path / "made"
    resident, _ = logits_of(folder, made)
    for _ in range(2):  # packed, then found
        paged, counters = logits_of(folder, made, budget_bytes=200_000)
        assert np.array_equal(paged, resident)
        assert 0 < counters["resident_bytes"] <= 200_000 < counters["bytes_compressed_read"]
    assert len(list(made.glob("*.linears-f32.c3"))) == 1
    with pytest.raises(ConfigError, match="smallest that works"):
        logits_of(folder, made, budget_bytes=1000)


def test_a_budget_too_small_is_told_before_anything_is_packed(tmp_path: Path) -> None:
    folder, made = write_folder(tmp_path / "model", "llama"), tmp_path / "made"
    with pytest.raises(ConfigError, match="smallest that works"):
        logits_of(folder, made, budget_bytes=1000)
    assert not list(made.glob("*.c3"))


def test_the_tokenizer_is_the_folders_own(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", "llama", torch.bfloat16)
    loaded = open_hf(folder, LoadOptions(packed_root=tmp_path / "made", device="cpu", threads=1, form="bf16"))
    assert loaded.model.model.dtype == torch.bfloat16
    assert loaded.tokenizer.decode(loaded.tokenizer.encode("¿qué? <s>")) == "¿qué? <s>"


def test_a_pickle_is_no_model(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", "llama")
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelFileError, match=r"\*.safetensors missing"):
        open_hf(folder, LoadOptions(packed_root=tmp_path, threads=1))


def test_code_of_a_folder_is_never_run(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", "llama")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine", "AutoModelForCausalLM": "mine.Mine"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(UnsupportedModel):
        open_hf(folder, LoadOptions(packed_root=tmp_path, threads=1))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("budget_bytes", [0, 200_000])
def test_a_damaged_file_is_one_line(tmp_path: Path, budget_bytes: int) -> None:
    folder = write_folder(tmp_path / "model", "llama")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ModelFileError, match="fetch it again"):
        open_hf(folder, LoadOptions(packed_root=tmp_path, threads=1, budget_bytes=budget_bytes))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (transformers.MambaConfig(), "recurrent state"),
        (transformers.Lfm2Config(num_hidden_layers=2, layer_types=["conv", "full_attention"]), "recurrent state"),
        (transformers.T5Config(), "encoder"),
        (transformers.CLIPVisionConfig(), "no causal language model"),
    ],
)
def test_what_cannot_be_swept_is_refused(config: transformers.PretrainedConfig, said: str) -> None:
    check_supported(tiny_config("llama"))
    with pytest.raises(UnsupportedModel, match=said):
        check_supported(config)


def test_rounded_weights_give_the_same_bits_resident_and_paged(tmp_path: Path) -> None:
    folder, made = write_folder(tmp_path / "model", "llama"), tmp_path / "made"
    exact, _ = logits_of(folder, made)
    resident, counters = logits_of(folder, made, form="int4")
    assert counters["bytes_compressed_read"] == 0
    paged, counters = logits_of(folder, made, form="int4", budget_bytes=50_000)
    assert counters["bytes_compressed_read"] > 0
    assert np.array_equal(paged, resident)
    assert 0 < np.abs(resident - exact).max() < 0.5 * np.abs(exact).max()


def test_places_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        open_hf(tmp_path / "none", LoadOptions(packed_root=tmp_path, threads=1))


def test_without_the_extra_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingCapability, match=re.escape(add_extra("hf"))):
        open_hf(tmp_path, LoadOptions(packed_root=tmp_path, threads=1))


def test_a_made_folder_is_whole_or_made_anew(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    assert not is_whole(tmp_path)
    (tmp_path / CHECKSUMS).write_text(json.dumps({"a": "0" * 16}))
    assert not is_whole(tmp_path)
    (tmp_path / CHECKSUMS).write_text("[]")
    assert not is_whole(tmp_path)
