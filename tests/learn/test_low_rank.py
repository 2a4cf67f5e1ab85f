"""Low-rank training on tiny random models: what is attached, learnt, resumed, refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.models.tiny_transformers import tiny_model
from vortex.adapters.peft_config import PeftConfig
from vortex.adapters.writing import write_adapter
from vortex.errors import ConfigError, TrainingStopped, UnsupportedModel
from vortex.training.low_rank.four_bit import pack_base
from vortex.training.low_rank.layers import LowRankLinear, LowRankParameters, attach
from vortex.training.low_rank.loop import Consolidation, Example, Recipe
from vortex.training.low_rank.packed import kept_apart, logits_at, packed

SHAPES = {
    "model.layers.0.self_attn.q_proj": (128, 64),
    "model.layers.1.mlp.up_proj": (96, 64),
    "model.layers.2.mlp.down_proj": (64, 96),
}
EXAMPLES = [Example([5, 9, 20, 33, 40, 1], 3, 0), Example([5, 8, 20, 51, 60, 1], 3, 1)]
SISTERS = [Example([5, 9, 21, 33, 41, 1], 3, 0), Example([5, 8, 22, 51, 61, 1], 3, 1)]
KEPT = [list(range(100, 130)), list(range(30, 60))]


def tiny() -> tuple[torch.nn.Module, LowRankParameters]:
    torch.manual_seed(0)
    model = tiny_model("llama")
    return model, attach(model, SHAPES, rank=4, alpha=8.0, seed=0)


def trained(recipe: Recipe, state: Path | None = None, **changes) -> Consolidation:
    model, parameters = tiny()
    loop = Consolidation(model, parameters, EXAMPLES, KEPT, recipe, SISTERS, state, {"recipe": "a"}, **changes)
    loop.run()
    return loop


def test_an_untrained_adapter_changes_nothing_and_only_it_is_trained() -> None:
    plain = tiny_model("llama")
    model, parameters = tiny()
    ids = torch.tensor([[3, 4, 5, 6]])
    assert torch.equal(plain(ids).logits, model(ids).logits)
    assert sum(p.requires_grad for p in model.parameters()) == 2 * len(SHAPES)
    assert set(parameters.pairs()) == set(SHAPES)


@pytest.mark.parametrize(
    "targets", [{"model.layers.9.mlp.up_proj": (96, 64)}, {"model.layers.0.mlp.up_proj": (96, 63)},
                {"model.norm": (64, 64)}]
)  # fmt: skip
def test_a_layer_that_is_not_there_or_no_such_linear_is_refused(targets: dict[str, tuple[int, int]]) -> None:
    with pytest.raises(UnsupportedModel, match="cannot be trained here"):
        attach(tiny_model("llama"), targets, rank=2, alpha=2.0, seed=0)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma3"])
def test_a_row_is_computed_the_same_alone_and_packed_beside_others(kind: str) -> None:
    model = tiny_model(kind)
    parameters = attach(model, {"model.layers.0.mlp.up_proj": (96, 64)}, rank=4, alpha=8.0, seed=0)
    with torch.no_grad():
        for layer in parameters.layers.values():
            layer.b_Nr.normal_(std=0.1)
    parts = [KEPT[0], [7, 8, 9], KEPT[1]]
    with torch.no_grad():
        alone = torch.cat([model(torch.tensor([row])).logits[0] for row in parts])
        rows = packed(parts, torch.device("cpu"))
        by_itself = logits_at(model, rows, torch.arange(rows.num_tokens))
        with kept_apart(model) as apart:
            assert apart
            row_by_row = logits_at(model, rows, torch.arange(rows.num_tokens))
    for together in (by_itself, row_by_row):
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_gradients_are_those_of_the_plain_operations() -> None:
    layer = LowRankLinear(torch.nn.Linear(12, 20), 4, 8.0, torch.Generator().manual_seed(1))
    with torch.no_grad():
        layer.b_Nr.normal_()
    found = []
    for forward in (layer, lambda x: layer.base(x) + 2.0 * (x @ layer.a_rK.T) @ layer.b_Nr.T):
        x = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(2), requires_grad=True)
        y = forward(x)
        torch.autograd.backward((y * y).sum())
        found.append((y.detach(), x.grad, layer.a_rK.grad, layer.b_Nr.grad))
        layer.a_rK.grad = layer.b_Nr.grad = None
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain)


def test_facts_are_learnt_and_the_distance_to_the_base_holds_the_rest() -> None:
    recipe = Recipe(steps=60, learning_rate=2e-2, stop_at=0.0)
    held, free = trained(recipe), trained(Recipe(steps=60, learning_rate=2e-2, kl_weight=0.0, stop_at=0.0))
    assert held.progress.curve[-1][1] < 0.3 * held.progress.curve[0][1]

    def drift(loop: Consolidation) -> float:
        ids = torch.tensor([KEPT[0]])
        with torch.no_grad():
            own = loop.model(ids).logits.log_softmax(-1)
            with loop.parameters.off():
                base = loop.model(ids).logits.log_softmax(-1)
        return float((base.exp() * (base - own)).sum(-1).mean())

    assert drift(held) < 0.5 * drift(free)


def test_sisters_keep_what_the_base_says_about_something_else() -> None:
    ids = torch.tensor([list(SISTERS[0].ids)])

    def drift(sisters: list[Example]) -> float:
        model, parameters = tiny()
        recipe = Recipe(steps=60, learning_rate=2e-2, stop_at=0.0, skip_under=0.0)
        loop = Consolidation(model, parameters, EXAMPLES, (), recipe, sisters)
        loop.run()
        assert loop.progress.curve[-1][1] < 0.3 * loop.progress.curve[0][1]
        with torch.no_grad():
            own = model(ids).logits[0, 2:-1].log_softmax(-1)
            with parameters.off():
                base = model(ids).logits[0, 2:-1].log_softmax(-1)
        return float((base.exp() * (base - own)).sum(-1).mean())

    assert drift(SISTERS) < 0.5 * drift([])


def test_it_stops_at_the_mean_loss_and_says_why() -> None:
    loop = trained(Recipe(steps=400, learning_rate=2e-2, kl_weight=0.0, stop_at=0.5))
    assert loop.ended == "mean loss under 0.5"
    assert loop.progress.step < 400


def test_a_training_that_was_cut_off_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = trained(Recipe(steps=6, save_every=3))

    def cut(tick) -> None:
        if tick.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(Recipe(steps=6, save_every=3), tmp_path, on_tick=cut)
    again = trained(Recipe(steps=6, save_every=3), tmp_path)
    for name, (a, b) in whole.parameters.pairs().items():
        np.testing.assert_array_equal(a, again.parameters.pairs()[name][0])
        np.testing.assert_array_equal(b, again.parameters.pairs()[name][1])
    model, parameters = tiny()
    with pytest.raises(ConfigError, match="another recipe"):
        Consolidation(model, parameters, EXAMPLES, KEPT, Recipe(steps=9), (), tmp_path, {"recipe": "b"}).run()


def test_a_loss_that_is_no_number_stops_before_the_weights(tmp_path: Path) -> None:
    model, parameters = tiny()
    loop = Consolidation(model, parameters, EXAMPLES, KEPT, Recipe(steps=9, save_every=2), (), tmp_path)

    def poison(tick) -> None:
        if tick.step == 3:
            with torch.no_grad():
                model.model.norm.weight.fill_(float("nan"))

    loop.on_tick = poison
    with pytest.raises(TrainingStopped, match=r"step 3 is no number; the state of step-00000002 is kept"):
        loop.run()
    assert all(np.isfinite(b).all() for _, b in parameters.pairs().values())


def test_nothing_to_learn_is_told() -> None:
    model, parameters = tiny()
    with pytest.raises(ConfigError, match="nothing to learn"):
        Consolidation(model, parameters, [], KEPT, Recipe()).run()


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of peft's own call
def test_peft_reads_what_was_trained(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    everywhere = {f"model.layers.{layer}.mlp.up_proj": (96, 64) for layer in range(3)}  # peft puts one beside each
    model = tiny_model("llama")
    parameters = attach(model, everywhere, rank=4, alpha=8.0, seed=0)
    loop = Consolidation(model, parameters, EXAMPLES, KEPT, Recipe(steps=5, learning_rate=2e-2))
    loop.run()
    write_adapter(tmp_path, PeftConfig(rank=4, alpha=8.0, base="tiny"), loop.parameters.pairs(), "sha256:x/auto")
    theirs = peft.PeftModel.from_pretrained(tiny_model("llama"), tmp_path).eval()
    ids = torch.tensor([[3, 9, 20, 44]])
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, loop.model(ids).logits, atol=2e-4, rtol=2e-4)


def test_a_base_of_four_bits_is_near_and_is_trained_beside(tmp_path: Path) -> None:
    whole, model = tiny_model("llama"), tiny_model("llama")
    pack_base(model, SHAPES, torch.device("cpu"))
    name = "model.layers.1.mlp.up_proj"
    packed_layer, plain = model.get_submodule(name), whole.get_submodule(name)
    assert packed_layer.packed.nbytes < plain.weight.numel()  # bytes: five bits and a half a weight
    step = (plain.weight.amax() - plain.weight.amin()) / 15
    assert (packed_layer.weight.float() - plain.weight).abs().max() < 0.6 * step
    parameters = attach(model, SHAPES, rank=4, alpha=8.0, seed=0)
    loop = Consolidation(model, parameters, EXAMPLES, KEPT, Recipe(steps=30, learning_rate=2e-2, stop_at=0.0))
    loop.run()
    assert loop.progress.curve[-1][1] < 0.5 * loop.progress.curve[0][1]
    with pytest.raises(UnsupportedModel, match="base_bits"):
        pack_base(tiny_model("llama"), ["model.norm"], torch.device("cpu"))
