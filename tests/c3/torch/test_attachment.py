"""A transformers model under a budget: the same bits as the resident one, whatever is paged and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from gguf.constants import GGMLQuantizationType as GGML
from gguf.quants import dequantize, quantize
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PretrainedConfig

import vortex.c3
from tests.models.tiny_transformers import one_thread
from vortex.c3.torch.attachment import linear_sites, unit_sizes
from vortex.c3.torch.paged_linear import used_order
from vortex.c3.torch.quantised_linear import FORMATS
from vortex.errors import BackendError, ConfigError, ModelFileError, UnsupportedModel
from vortex.kernels.formats import Format

pytestmark = pytest.mark.usefixtures("one_thread")
__all__ = ["one_thread"]
IDS = torch.tensor([[1, 2, 3, 4, 5]])
TINY = {
    "llama": LlamaConfig(
        hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=160, max_position_embeddings=128, tie_word_embeddings=True,
    ),
    "gpt2": GPT2Config(
        n_embd=64, n_layer=2, n_head=4, vocab_size=160, n_positions=128, bos_token_id=0, eos_token_id=1
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VORTEX_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def tiny(config: PretrainedConfig, dtype: torch.dtype, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


@torch.inference_mode()
def logits(model: torch.nn.Module, forwards: int = 1) -> torch.Tensor:
    return torch.stack([model(IDS).logits for _ in range(forwards)])


def check_bits(name: str, dtype: torch.dtype, shares: tuple[float, ...], codecs: tuple[str, ...]) -> None:
    """shares: of all linears' bytes, as budgets."""
    resident = logits(tiny(TINY[name], dtype), 2)
    total = sum(unit_sizes(linear_sites(tiny(TINY[name], dtype))).values())
    for share in shares:
        for codec in codecs:
            model = tiny(TINY[name], dtype)
            with vortex.c3.attach(model, int(share * total), codec=codec) as attached:
                assert torch.equal(logits(model, 2), resident)
                counters = attached.counters()
                assert counters["resident_bytes"] <= share * total
                assert (attached.bytes_to_fetch > 0) == (share < 1)
                assert (counters["bytes_compressed_read"] > 0) == (share < 1)


@pytest.mark.parametrize(("name", "dtype"), [("llama", torch.bfloat16), ("gpt2", torch.float32)])
def test_paged_logits_are_the_resident_bits(name: str, dtype: torch.dtype) -> None:
    check_bits(name, dtype, (0.34,), ("raw",))


@pytest.mark.long
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", TINY)
def test_every_budget_and_codec_gives_the_resident_bits(name: str, dtype: torch.dtype) -> None:
    check_bits(name, dtype, (1, 0.6, 0.34), ("raw", "lossless"))


@torch.inference_mode()
def rounded_by_hand(model: torch.nn.Module, kind: Format) -> torch.nn.Module:
    """Its linears' weights as the format has them, in float32."""
    for site in linear_sites(model):
        weight = model.get_submodule(site.name).weight
        rows = weight.T if site.shape.transposed else weight
        rounded = torch.from_numpy(dequantize(quantize(rows.numpy(), GGML[kind.name]), GGML[kind.name]))
        weight = rounded.T if site.shape.transposed else rounded
        model.get_submodule(site.name).weight = torch.nn.Parameter(
            weight.contiguous()
        )  # a tied embedding keeps its own
    return model


@pytest.mark.parametrize(("name", "codec"), [("llama", "int4"), ("gpt2", "int8")])
def test_a_codec_that_rounds_has_the_same_bits_at_every_budget(name: str, codec: str) -> None:
    sites = linear_sites(tiny(TINY[name], torch.float32), codec)
    total, seen = sum(unit_sizes(sites).values()), []
    for share in (1, 0.4):
        model = tiny(TINY[name], torch.float32)
        with vortex.c3.attach(model, int(share * total), codec=codec) as attached:
            seen.append(logits(model, 2))
            assert (attached.bytes_to_fetch > 0) == (share < 1)
    assert torch.equal(*seen)
    wanted = logits(rounded_by_hand(tiny(TINY[name], torch.float32), FORMATS[codec]), 2)
    assert (seen[0] - wanted).square().mean().sqrt() < 0.02 * wanted.square().mean().sqrt(), "inputs are rounded too"
    assert not torch.equal(wanted, logits(tiny(TINY[name], torch.float32), 2))


def test_an_unknown_codec_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match="choose one of: auto, raw, lossless, int8, int4, mxfp4"):
        vortex.c3.attach(tiny(TINY["llama"], torch.float32), "200KB", codec="int3")


def test_generate_gives_the_same_tokens_while_weights_come_from_disk() -> None:
    options = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    wanted = tiny(TINY["llama"], torch.float32).generate(IDS, **options)
    model = tiny(TINY["llama"], torch.float32)
    with vortex.c3.attach(model, "200KB"):
        assert torch.equal(model.generate(IDS, **options), wanted)


def test_weights_are_gone_from_memory_and_the_folder_with_them(own_cache: Path) -> None:
    model = tiny(TINY["llama"], torch.float32)
    attached = vortex.c3.attach(model, "200KB")
    linear = model.model.layers[0].mlp.up_proj
    assert linear.weight.device.type == "meta"
    assert (linear.in_features, linear.out_features) == (64, 96)
    assert list((own_cache / "attached").iterdir())
    attached.close()
    attached.close()
    assert not list((own_cache / "attached").iterdir())
    with pytest.raises(BackendError, match="attach it again"):
        logits(model)


def test_a_budget_too_small_says_the_smallest_that_works(own_cache: Path) -> None:
    model = tiny(TINY["llama"], torch.float32)
    with pytest.raises(ConfigError, match="smallest that works is") as refused:
        vortex.c3.attach(model, "10KB")
    assert not own_cache.exists(), "nothing is packed in vain"
    smallest = str(refused.value).rsplit("is ", 1)[1].replace(" ", "")
    with vortex.c3.attach(model, smallest):
        logits(model)


def test_a_folder_is_kept_used_again_and_not_mixed_up(tmp_path: Path) -> None:
    folder = tmp_path / "model.c3"
    wanted = logits(tiny(TINY["llama"], torch.bfloat16))
    with vortex.c3.attach(tiny(TINY["llama"], torch.bfloat16), "100KB", folder=folder):
        pass
    other = tiny(TINY["llama"], torch.bfloat16, seed=1)  # its own linears are never looked at
    other.model.norm = tiny(TINY["llama"], torch.bfloat16).model.norm
    with vortex.c3.attach(other, "100KB", folder=folder):
        assert torch.equal(logits(other), wanted)
    with pytest.raises(ModelFileError, match="another model"):
        vortex.c3.attach(tiny(TINY["llama"], torch.float32), "200KB", folder=folder)


class Backwards(torch.nn.Module):
    """Uses its layers from the last to the first, and one of them only at times."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = torch.nn.ModuleList(torch.nn.Linear(64, 64) for _ in range(8))

    def forward(self, x: torch.Tensor, skip: int = -1) -> torch.Tensor:
        for index in reversed(range(8)):
            if index != skip:
                x = torch.tanh(self.steps[index](x))
        return x


@torch.inference_mode()
def test_reads_follow_the_order_of_the_first_forward() -> None:
    torch.manual_seed(0)
    model, x = Backwards(), torch.randn(2, 64)
    wanted, without_3 = model(x), model(x, skip=3)
    with vortex.c3.attach(model, 4 * 64 * 64 * 4) as attached:
        assert torch.equal(model(x, skip=3), without_3)
        for _ in range(3):
            assert torch.equal(model(x), wanted)
        assert attached.weights.order == [f"steps/{index}" for index in (7, 6, 5, 4, 2, 3, 1, 0)]
        assert torch.equal(model(x, skip=3), without_3)


def test_what_a_forward_left_out_follows_its_old_predecessor() -> None:
    assert used_order(["a", "b", "c", "d"], ["c", "a"]) == ["c", "d", "a", "b"]
    assert used_order(["head", "b"], ["b"]) == ["head", "b"]


def test_a_model_without_linears_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="no plain linear"):
        vortex.c3.attach(torch.nn.Sequential(torch.nn.Tanh()), "1MB")
