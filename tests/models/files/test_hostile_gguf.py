"""GGUF files that lie, are strange, or come in parts: used as they say, or refused by the name of what is wrong."""

from __future__ import annotations

import copy
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fuzz.mutations import ARRAY, F32, STRING, U32, Gguf, nested_arrays
from tests.fuzz.targets import FFN, HEAD, WIDTH, good_gguf
from vortex.errors import ModelFileError, UnsupportedModel, VortexError
from vortex.models.decoder.opening import open_decoder
from vortex.models.files.checkpoint import GgufCheckpoint
from vortex.models.opened import LoadOptions
from vortex.models.weight_source import fingerprint
from vortex.tokenizer.gguf import tokenizer_files_from_gguf
from vortex.types import Span


def with_field(key: str, kind: int, value: Any) -> Gguf:
    file = good_gguf()
    file.fields = [*(entry for entry in file.fields if entry[0] != key), (key, kind, value)]
    return file


def with_tensor(name: str, kind: int, dimensions: list[int], data: bytes, file: Gguf | None = None) -> Gguf:
    file = file or good_gguf()
    file.tensors = [entry for entry in file.tensors if entry[0] != name]
    file.tensors.append((name, dimensions, kind, len(file.data)))
    file.data += data + bytes(-len(data) % file.alignment)
    return file


def opened(tmp_path: Path, file: Gguf) -> GgufCheckpoint:
    path = tmp_path / "model.gguf"
    path.write_bytes(file.to_bytes())
    checkpoint = GgufCheckpoint(path)
    tokenizer_files_from_gguf(checkpoint.file.metadata)
    return checkpoint


LIES: list[tuple[str, int, Any, str]] = [
    ("llama.expert_count", U32, 16_000_000, "expert_count"),
    ("llama.attention.key_length", U32, 2**31, "key_length"),
    ("llama.block_count", U32, 1_000_000, "block_count"),
    ("llama.embedding_length", F32, float("nan"), "embedding_length"),
    ("llama.embedding_length", ARRAY, (U32, []), "embedding_length"),
    ("llama.rope.freq_base", F32, 0.0, "rope.freq_base"),
    ("llama.rope.freq_base", F32, float("inf"), "rope.freq_base"),
    ("llama.attention.layer_norm_rms_epsilon", STRING, "small", "rms_epsilon"),
    ("general.alignment", F32, float("inf"), "general.alignment"),
    ("general.alignment", U32, 0, "general.alignment"),
    ("general.name", ARRAY, nested_arrays(500), "nested"),
    ("general.architecture", U32, 7, "general.architecture"),
    ("tokenizer.ggml.tokens", ARRAY, (U32, [1] * 20), "tokens"),
    ("tokenizer.ggml.tokens", ARRAY, (STRING, ["a" * 60_000] * 20), "60,000 characters"),
    ("tokenizer.ggml.token_type", STRING, "normal", "token_type"),
    ("tokenizer.ggml.eos_token_id", ARRAY, (U32, [1]), "eos_token_id"),
    ("tokenizer.ggml.merges", ARRAY, (U32, [1]), "merges"),
]


@pytest.mark.parametrize(("key", "kind", "value", "named"), LIES)
def test_a_number_that_cannot_be_is_named(tmp_path: Path, key: str, kind: int, value: Any, named: str) -> None:
    with pytest.raises(VortexError, match=named) as caught:
        opened(tmp_path, with_field(key, kind, value))
    assert len(str(caught.value).splitlines()) == 1


STRANGE: list[tuple[str, int, Any, str]] = [
    ("llama.rope.dimension_count", U32, HEAD // 2, "rope.dimension_count"),
    ("llama.attention.value_length", U32, 8, "attention.value_length"),
    ("llama.rope.scaling.type", STRING, "longrope", "longrope"),
    ("llama.rope.scaling.attn_factor", F32, 1.2, "attn_factor"),
    ("llama.attention.head_count_kv", ARRAY, (U32, [2, 4]), "head_count_kv differs from layer to layer"),
    ("llama.feed_forward_length", ARRAY, (U32, [FFN, 32]), "feed_forward_length differs"),
    ("llama.final_logit_softcapping", F32, 30.0, "final_logit_softcapping"),
    ("llama.attention.sliding_window", U32, 16, "sliding_window"),
    ("llama.logit_scale", F32, 0.5, "logit_scale"),
    ("llama.expert_shared_count", U32, 1, "expert_shared_count"),
    ("llama.attention.causal", U32, 0, "attention.causal"),
    ("llama.something_new", F32, 0.5, "llama.something_new"),
]


@pytest.mark.parametrize(("key", "kind", "value", "named"), STRANGE)
def test_a_key_that_nobody_computes_is_refused(tmp_path: Path, key: str, kind: int, value: Any, named: str) -> None:
    with pytest.raises(UnsupportedModel, match=named):
        opened(tmp_path, with_field(key, kind, value))


def test_keys_that_change_nothing_are_taken(tmp_path: Path) -> None:
    file = good_gguf()
    file.fields += [
        ("llama.rope.dimension_count", U32, HEAD),
        ("llama.vocab_size", U32, 20),
        ("llama.logit_scale", F32, 1),
    ]
    file.fields += [("llama.attention.head_count_kv", ARRAY, (U32, [2, 2]))]
    file.fields = [entry for entry in file.fields if entry[:2] != ("llama.attention.head_count_kv", U32)]
    assert opened(tmp_path, file).config.num_kv_heads == 2


def floats(*shape: int, value: float = 0.5) -> bytes:
    return np.full(shape, value, np.float32).tobytes()


@pytest.mark.parametrize(
    "name", ["blk.0.ffn_up.bias", "blk.0.attn_q_norm.weight", "blk.9.attn_q.weight", "rope_factors_long.weight"]
)
def test_a_tensor_that_nobody_reads_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsupportedModel, match=name):
        opened(tmp_path, with_tensor(name, 0, [WIDTH], floats(WIDTH)))


def test_biases_are_used_where_a_file_has_them(tmp_path: Path) -> None:
    file = good_gguf()
    for layer in range(2):
        for part, size in (("q", 64), ("k", 32), ("v", 32), ("output", 64)):
            file = with_tensor(f"blk.{layer}.attn_{part}.bias", 0, [size], floats(size), file)
    config = opened(tmp_path, file).config
    assert (config.qkv_bias, config.attention_out_bias) == (True, True)


def test_frequency_divisors_fit_the_heads(tmp_path: Path) -> None:
    assert (
        len(opened(tmp_path, with_tensor("rope_freqs.weight", 0, [HEAD // 2], floats(HEAD // 2))).config.rope_divisors)
        == 8
    )
    for kind, size, value in ((0, 5, 1.0), (0, HEAD // 2, 0.0), (0, HEAD // 2, float("nan")), (28, HEAD // 4, 1.0)):
        with pytest.raises(ModelFileError, match=r"rotary|rope_freqs"):
            opened(tmp_path, with_tensor("rope_freqs.weight", kind, [size], floats(2 * size, value=value)))


def test_an_unknown_type_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=r"blk\.0\.attn_q\.weight is of GGUF type 99"):
        opened(tmp_path, with_tensor("blk.0.attn_q.weight", 99, [WIDTH, 64], b""))
    with pytest.raises(UnsupportedModel, match=r"blk\.0\.attn_norm\.weight is in F64"):
        opened(tmp_path, with_tensor("blk.0.attn_norm.weight", 28, [WIDTH], floats(2 * WIDTH))).tensor(
            "layers.0.attention_norm"
        )


def test_a_shape_without_values_is_refused(tmp_path: Path) -> None:
    for dimensions in ([], [0], [WIDTH, 0]):
        with pytest.raises(ModelFileError, match=r"dimensions|without values"):
            opened(tmp_path, with_tensor("blk.0.attn_norm.weight", 0, dimensions, b""))


def _poisoned(write: Callable[[bytearray], None]) -> Gguf:
    blocks = bytearray(b"\x00\x3c" + bytes(32)) * (FFN * WIDTH // 32)  # Q8_0: a scale of one, codes of zero
    write(blocks)
    return with_tensor("blk.0.ffn_up.weight", 8, [WIDTH, FFN], bytes(blocks))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_said(tmp_path: Path, bad: float) -> None:
    def spoil(blocks: bytearray) -> None:
        blocks[34 * 5 : 34 * 5 + 2] = struct.pack("<e", bad)

    assert opened(tmp_path, _poisoned(lambda _: None)).tensor("layers.0.up").rows == FFN
    with pytest.raises(ModelFileError, match=r"ffn_up\.weight holds weights in row 2 that are no numbers"):
        opened(tmp_path, _poisoned(spoil)).tensor("layers.0.up")
    with pytest.raises(ModelFileError, match=r"token_embd\.weight holds weights in row 0"):
        opened(tmp_path, with_tensor("token_embd.weight", 0, [WIDTH, 20], floats(20, WIDTH, value=bad))).tensor(
            "embedding"
        )


def parts_of(folder: Path, count: int = 3) -> list[Path]:
    """The good file cut into parts, as other programs write them."""
    whole, paths = good_gguf(), []
    for number in range(count):
        fields = whole.fields if number == 0 else []
        part = Gguf([*copy.deepcopy(fields), ("split.no", U32, number), ("split.count", U32, count),
                     ("split.tensors.count", U32, len(whole.tensors))])  # fmt: skip
        for name, dimensions, kind, offset in whole.tensors[number::count]:
            size = 4 * int(np.prod(dimensions))
            part = with_tensor(name, kind, dimensions, whole.data[offset : offset + size], part)
        paths.append(folder / f"tiny-{number + 1:05}-of-{count:05}.gguf")
        paths[-1].write_bytes(part.to_bytes())
    return paths


def test_a_model_in_parts_is_the_model(tmp_path: Path) -> None:
    paths = parts_of(tmp_path)
    joined, whole = GgufCheckpoint(paths[0]), opened(tmp_path, good_gguf())
    assert joined.config == whole.config
    np.testing.assert_array_equal(joined.tensor("layers.1.down").data, whole.tensor("layers.1.down").data)
    with pytest.raises(ModelFileError, match=r"is part 2 of 3 of a split model; give the first part, tiny-00001-of"):
        GgufCheckpoint(paths[1])
    before = fingerprint(paths[0])
    paths[2].write_bytes(paths[2].read_bytes() + bytes(32))
    assert fingerprint(paths[0]) != before  # packed anew where any part changed
    paths[2].unlink()
    with pytest.raises(ModelFileError, match=r"part 1 of 3 .* missing beside it: tiny-00003-of-00003\.gguf"):
        GgufCheckpoint(paths[0])
    other = paths[0].rename(tmp_path / "renamed.gguf")
    with pytest.raises(ModelFileError, match="under names like"):
        GgufCheckpoint(other)


def test_a_tokenizer_larger_than_the_embedding_is_refused(tmp_path: Path) -> None:
    file = good_gguf()
    more = [*(chr(0x41 + i) for i in range(20)), "<|end|>", "ab"]
    changes = {"tokenizer.ggml.tokens": (STRING, more), "tokenizer.ggml.token_type": (U32, [1] * 22)}
    changes["tokenizer.ggml.merges"] = (STRING, [])
    file.fields = [(key, kind, changes.get(key, value)) for key, kind, value in file.fields]
    path = tmp_path / "large.gguf"
    path.write_bytes(file.to_bytes())
    with pytest.raises(ModelFileError, match="22 tokens and the model 20"):
        open_decoder(path, LoadOptions(packed_root=tmp_path / "packed", device="cpu"))


def test_a_window_beyond_everything_reads_nothing_that_was_not_written(tmp_path: Path) -> None:
    """gpt-oss and Gemma 3 say how far they see; 2^31 once went negative, and old sums of other sequences showed."""
    from tests.models.tiny_models import write_gguf

    path = write_gguf(tmp_path / "gemma.gguf", "gemma3")
    data = path.read_bytes()
    at = data.index(b"gemma3.attention.sliding_window") + len(b"gemma3.attention.sliding_window") + 4
    for window, fits in ((2**31 - 1, True), (2**31, False), (2**32 - 1, False)):
        path.write_bytes(data[:at] + struct.pack("<I", window) + data[at + 4 :])
        if fits:
            assert GgufCheckpoint(path).config.sliding_window == window
        else:
            with pytest.raises(ModelFileError, match="sliding_window"):
                GgufCheckpoint(path)


def test_the_good_file_answers(tmp_path: Path) -> None:
    path = tmp_path / "good.gguf"
    path.write_bytes(good_gguf().to_bytes())
    model = open_decoder(path, LoadOptions(packed_root=tmp_path / "packed", device="cpu")).model
    state = model.new_state()
    assert np.isfinite(model.sweep([Span(state, [1, 2, 3])]).logits).all()
    state.close()
    model.close()
