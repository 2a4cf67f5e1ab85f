"""A tiny random Llama becomes a core: what is kept, what is learnt, what is refused."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from vortex.errors import ConfigError, MissingCapability, UnsupportedModel
from vortex.learn import distillation
from vortex.learn.bootstrap import Bootstrap, bootstrap, make_student
from vortex.learn.distillation import Distillation, DistillationOptions, divergence
from vortex.learn.student import copy_teacher, student_config
from vortex.learn.teacher import Teacher, check_quant
from vortex.tokenizer.files import TokenizerFiles, TokenizerSettings
from vortex.types import Span, Want
from vortex.vblocks.checkpoint import CoreCheckpoint, read_core, save_core
from vortex.vblocks.config import CoreConfig
from vortex.vblocks.model import VortexCore
from vortex.vblocks.network.local_mixer import rotated
from vortex.vblocks.network.network import CoreNetwork, weights_of
from vortex.vblocks.weights import CoreWeights, MemorySource

pytestmark = pytest.mark.long  # transformers alone takes seconds to import


def byte_level_files() -> TokenizerFiles:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {letter: index for index, letter in enumerate(letters)} | {"<|end|>": 256}
    tokenizer = Tokenizer(models.BPE(vocab, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|end|>"])
    settings = TokenizerSettings(eos_id=256, end_ids=(256,))
    return TokenizerFiles(tokenizer.to_str().encode(), settings)


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=257, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, tie_word_embeddings=True, initializer_range=0.3,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    model.requires_grad_(False)
    return Teacher("tiny", model, byte_level_files(), torch.device("cpu"))


def test_the_hidden_states_are_those_between_the_layers(teacher: Teacher) -> None:
    found = teacher.forward(torch.tensor([[1, 2, 3, 4]]))
    assert len(found.hidden) == 3
    logits = teacher.model.lm_head(teacher.model.model.norm(found.hidden[-1]))
    assert torch.allclose(logits, found.logits_BTV, atol=1e-5)


def test_logits_of_hidden_rows_are_those_of_the_model(teacher: Teacher) -> None:
    ids = torch.tensor([[1, 2, 3, 4], [9, 8, 7, 6]])
    assert torch.equal(teacher.logits_of(teacher.hidden(ids)), teacher.forward(ids).logits_BTV)


def test_matching_a_few_rows_at_a_time_gives_the_gradient_of_all(teacher: Teacher, tmp_path, monkeypatch) -> None:
    ids = torch.randint(0, 256, (4, 16), generator=torch.Generator().manual_seed(0))
    gradients = []
    for together in (1 << 27, 2 * 16 * 257):
        monkeypatch.setattr(distillation, "LOGITS_TOGETHER", together)
        student = make_student(Bootstrap(out=tmp_path, steps=1, batch_tokens=32), teacher)
        trainer = Distillation(teacher, student, None, [], DistillationOptions(steps=1, window=16, batch=4))
        wanted = divergence(teacher.forward(ids).logits_BTV, student(ids, with_mtp=False).logits)
        assert trainer._matched(ids) == pytest.approx(float(wanted.detach()), rel=1e-5)
        ours = torch.cat([p.grad.flatten() for p in student.parameters() if p.grad is not None])
        student.zero_grad()
        torch.autograd.backward(wanted)
        gradients.append(torch.cat([p.grad.flatten() for p in student.parameters() if p.grad is not None]))
        assert torch.allclose(ours, gradients[-1], atol=1e-5 * float(gradients[-1].abs().max()))


def test_an_answer_does_not_depend_on_the_batch(teacher: Teacher) -> None:
    prompts = [[5, 6, 7, 8, 9], [40, 41], [100, 3, 100]]
    together = teacher.write(prompts, 6, seed=0, top_k=1)
    alone = [teacher.write([prompt], 6, seed=0, top_k=1)[0] for prompt in prompts]
    assert together == alone
    assert all(len(row) == 6 or row for row in together)


def test_a_student_keeps_what_it_shares_with_its_teacher(teacher: Teacher, tmp_path) -> None:
    student = make_student(Bootstrap(out=tmp_path, steps=1, batch_tokens=32), teacher)
    layer, theirs = student.layers[1], teacher.model.model.layers[1]
    assert torch.equal(student.embedding.weight, teacher.model.get_input_embeddings().weight)
    assert torch.equal(layer.mlp.out_proj.weight, theirs.mlp.down_proj.weight)
    assert torch.equal(layer.mlp_norm.weight, theirs.post_attention_layernorm.weight)
    assert not layer.delta.out_proj.weight.any(), "beside the window's attention the rule begins silent"
    keys = layer.delta.in_proj.weight[32:64].view(4, 8, 32)
    assert torch.equal(keys[0], keys[1]), "grouped heads are repeated"
    assert torch.equal(keys[::2].flatten(0, 1), theirs.self_attn.k_proj.weight)


def test_within_its_window_a_student_begins_as_its_teacher(teacher: Teacher) -> None:
    """Without the sink; and in the step form as well, which is what answers later."""
    config = dataclasses.replace(student_config(teacher.model, window=24), local_sink=False)
    assert config.local_window == 24
    student = CoreNetwork(config)
    copy_teacher(student, teacher.model)
    ids = torch.randint(0, 256, (2, 24), generator=torch.Generator().manual_seed(1))
    wanted = teacher.forward(ids).logits_BTV
    limit = 1e-5 * float(wanted.abs().max())
    with torch.no_grad():
        torch.testing.assert_close(student(ids, with_mtp=False).logits, wanted, atol=limit, rtol=0)
    core = VortexCore(config, CoreWeights(MemorySource(CoreCheckpoint(config, weights_of(student)), "float32")))
    rows = core.sweep([Span(core.new_state(), ids[0].tolist(), Want.ALL_LOGITS)]).logits
    torch.testing.assert_close(torch.from_numpy(np.array(rows)), wanted[0], atol=10 * limit, rtol=0)


def test_a_sink_is_the_first_tokens_pair_seen_from_behind_the_window(teacher: Teacher) -> None:
    student = CoreNetwork(student_config(teacher.model, window=6))
    copy_teacher(student, teacher.model)
    local = student.layers[0].local
    query = torch.randn(1, 7, 4, 8)
    keys = local.sink_key.repeat_interleave(2, 0)[None, None].detach()
    turned = rotated(keys, 6, local.rope_base)  # turned back: the first token's key, at place 0
    place_6 = rotated(query, 0, local.rope_base)[:, 6]
    torch.testing.assert_close((place_6 * turned[:, 0]).sum(-1), (query[:, 6] * keys[:, 0]).sum(-1))


def test_a_teacher_with_norms_on_its_queries_gives_no_window() -> None:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    settings = Qwen3Config(
        vocab_size=20, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8,
    )  # fmt: skip
    model = Qwen3ForCausalLM(settings)
    config = student_config(model)
    assert (config.local_window, config.local_sink) == (0, False)
    student = CoreNetwork(config)
    copy_teacher(student, model)
    assert torch.equal(student.layers[0].delta.out_proj.weight, model.model.layers[0].self_attn.o_proj.weight)


@pytest.mark.parametrize(("local_window", "falls_to"), [(0, 0.85), (4, 0.995)])
def test_the_divergence_falls_and_the_result_goes_on(
    teacher: Teacher, tmp_path, text_folder, local_window: int, falls_to: float
) -> None:
    run = Bootstrap(
        out=tmp_path / "core", steps=40, batch_tokens=96, window=24, max_prompts=0, data=[text_folder],
        dtype="float32", local_window=local_window,
    )  # fmt: skip
    made = bootstrap(run, teacher)
    first, last = made.curve.held_out[0][1], made.curve.held_out[-1][1]
    assert last < falls_to * first
    assert made.figures["last_kl_nats"] == pytest.approx(last, abs=1e-3)
    assert {"student_cloze", "teacher_cloze", "student_last_word"} <= set(made.figures)
    assert list(made.curve.losses) == (["logits", "length"] if local_window else ["align", "logits", "length"])
    assert json.loads((tmp_path / "core" / "bootstrap.json").read_text())["teacher"] == "tiny"
    kept = read_core(tmp_path / "core")
    assert kept.notes["teacher"] == "tiny"
    again = bootstrap(dataclasses.replace(run, start_from=kept, steps=2), teacher)
    assert again.curve.held_out[0][1] == pytest.approx(last, rel=1e-3), "it begins where the first run ended"


def test_no_steps_copy_and_measure_without_any_data(teacher: Teacher, tmp_path) -> None:
    made = bootstrap(Bootstrap(out=tmp_path / "core", steps=0, batch_tokens=96, window=24), teacher)
    assert {"student_cloze", "teacher_cloze"} <= set(made.figures)
    assert "last_kl_nats" not in made.figures
    assert torch.equal(made.student.embedding.weight, teacher.model.get_input_embeddings().weight)
    assert read_core(tmp_path / "core").config.local_window == 128


def test_too_little_text_for_the_last_stage_is_said_before_the_first(teacher: Teacher, tmp_path) -> None:
    (tmp_path / "text.txt").write_text("a text of some fifty letters, enough for rows of 24")
    run = Bootstrap(
        out=tmp_path / "core", steps=4, batch_tokens=24, window=24, max_prompts=0, data=[tmp_path / "text.txt"],
        dtype="float32",
    )  # fmt: skip
    with pytest.raises(ConfigError, match="too few for windows of 96"):
        bootstrap(run, teacher)
    assert not (tmp_path / "core" / "model.safetensors").exists()


def test_a_core_with_another_tokenizer_is_refused(teacher: Teacher, tmp_path) -> None:
    network = CoreNetwork(CoreConfig(vocab_size=257, width=32, num_layers=2))
    save_core(tmp_path / "own", CoreCheckpoint(network.config, weights_of(network), "bytes"))
    run = Bootstrap(out=tmp_path / "x", steps=1, batch_tokens=32, start_from=read_core(tmp_path / "own"))
    with pytest.raises(ConfigError, match="tokenizer is not that of tiny"):
        make_student(run, teacher)


def test_a_teacher_of_another_shape_is_refused() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    with pytest.raises(UnsupportedModel, match="cannot be made of a gpt2 model"):
        student_config(GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=20)))


def test_a_teacher_with_further_norms_is_refused() -> None:
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    config = Gemma3TextConfig(
        vocab_size=20, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8,
    )  # fmt: skip
    with pytest.raises(UnsupportedModel, match="further norms"):
        student_config(Gemma3ForCausalLM(config))


def test_four_bits_want_a_gpu_before_anything_is_fetched() -> None:
    with pytest.raises(MissingCapability, match="needs a GPU and bitsandbytes"):
        check_quant("Qwen/Qwen3-8B", "4bit", torch.device("cpu"))
    check_quant("smollm2-135m", "4bit", torch.device("cpu"))


def test_other_activations_are_refused_and_layers_without_rotation_give_no_window() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"vocab_size": 20, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
             "num_attention_heads": 2, "num_key_value_heads": 1}  # fmt: skip
    with pytest.raises(UnsupportedModel, match="MLPs use gelu"):
        student_config(LlamaForCausalLM(LlamaConfig(**sizes, hidden_act="gelu")))
    plain = LlamaForCausalLM(LlamaConfig(**sizes))
    assert student_config(plain).local_window == 128
    plain.config.no_rope_layers = [1]
    assert student_config(plain).local_window == 0
