"""gpt-oss: MXFP4 as its makers publish it, in safetensors and in GGUF, stays MXFP4 and means the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf.constants import GGMLQuantizationType as Type

from tests.models.decoder.test_decoder import relative_error, torch_decoder
from tests.models.decoder.test_decoder_reference import all_logits
from tests.models.tiny_models import CONFIGS, write_gguf_gpt_oss, write_safetensors
from vortex.errors import ModelFileError, UnsupportedModel
from vortex.models.decoder.model import Decoder
from vortex.models.decoder.reference_compute import ReferenceCompute
from vortex.models.files.checkpoint import GgufCheckpoint
from vortex.models.files.formats import dense
from vortex.models.files.gpt_oss_experts import mxfp4_blocks
from vortex.models.files.hf_config import from_hf
from vortex.models.files.raw_tensor import RawTensor
from vortex.models.files.safetensors import SafetensorsCheckpoint

FP4 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # OCP microscaling formats 1.0; eight more with a sign


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> SafetensorsCheckpoint:
    return SafetensorsCheckpoint(write_safetensors(tmp_path_factory.mktemp("gpt_oss"), "gpt_oss", mxfp4=True))


def test_published_blocks_mean_the_same_numbers_in_ggufs_order() -> None:
    rng = np.random.default_rng(0)
    packed = rng.integers(0, 256, (5, 2, 16), dtype=np.uint8)
    scales = rng.integers(110, 135, (5, 2), dtype=np.uint8)
    values = np.asarray([*FP4, *(-value for value in FP4)], np.float32)
    expected = np.stack([values[packed & 15], values[packed >> 4]], -1).reshape(5, 2, 32)
    expected = expected * np.exp2(scales[..., None].astype(np.float32) - 127)
    ours = dense(RawTensor(Type.MXFP4, 5, 64, mxfp4_blocks(packed, scales)))
    np.testing.assert_array_equal(ours, expected.reshape(5, 64))


def test_gguf_and_safetensors_are_the_same_model(checkpoint: SafetensorsCheckpoint, tmp_path: Path) -> None:
    gguf = GgufCheckpoint(write_gguf_gpt_oss(tmp_path / "model.gguf"))
    theirs = checkpoint.config.to_json()
    close = {key: pytest.approx(theirs[key], rel=1e-6) for key in ("norm_epsilon", "attention_scale", "rope_divisors")}
    assert gguf.config.to_json() == {**theirs, **close, "swiglu_limit": 7.0}
    for name in ("experts.5.gate", "experts.5.up_bias", "experts.5.down", "sinks", "router_bias", "attention_out_bias"):
        ours, other = gguf.tensor(f"layers.2.{name}"), checkpoint.tensor(f"layers.2.{name}")
        assert ours.type == other.type == (Type.F32 if "." not in name or "bias" in name else Type.MXFP4)
        np.testing.assert_array_equal(ours.data, other.data)


@pytest.mark.long
def test_packed_experts_stay_mxfp4_and_agree_with_the_oracle(checkpoint: SafetensorsCheckpoint, tmp_path: Path) -> None:
    model = torch_decoder(checkpoint, tmp_path / "tiny.c3")
    entries = model.compute.source.entries  # type: ignore[attr-defined]
    layouts = {name.rsplit(".", 2)[1]: entry.layout for name, entry in entries.items() if ".experts." in name}
    assert layouts == {"gate_up": "mxfp4", "down": "mxfp4", "biases": "f32"}
    oracle = Decoder(checkpoint.config, ReferenceCompute(checkpoint))
    assert relative_error(all_logits(model), all_logits(oracle)) < 0.05


def test_what_is_not_gpt_oss_is_refused(tmp_path: Path) -> None:
    odd = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
    for change, named in (({"swiglu_alpha": 2.0}, "swiglu_alpha"), ({"layer_types": odd}, "no known order")):
        with pytest.raises(UnsupportedModel, match=named):
            from_hf({**CONFIGS["gpt_oss"], **change}, "x")
    folder = write_safetensors(tmp_path, "gpt_oss")
    with pytest.raises(ModelFileError, match="no tensor"):
        SafetensorsCheckpoint(folder).tensor("layers.9.experts.0.gate")
