"""A decoder's weights by one set of names, whichever file they come from, as the raw blocks of that file.

Names: `embedding`, `head`, `final_norm`, and per layer `layers.3.` + `attention_norm q k v q_bias k_bias v_bias
q_norm k_norm sinks attention_out attention_out_bias post_attention_norm ffn_norm gate up down post_ffn_norm`; with
experts, `router`, `router_bias` and `experts.7.gate`, `.up`, `.down`, `.gate_bias`, `.up_bias`, `.down_bias` instead of
gate, up and down. Two conventions are made one
here: rotary halves are always first half / second half (GGUF's llama rows are interleaved and are put back), and a
norm's weight is always the whole factor (Gemma's safetensors store it minus one).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np
from gguf.constants import GGMLQuantizationType

from vortex.errors import ModelFileError, UnsupportedModel
from vortex.models.files.decoder_config import DecoderConfig
from vortex.models.files.gguf_config import frequency_divisors, from_gguf
from vortex.models.files.gguf_parts import GgufModel
from vortex.models.files.raw_tensor import FLOATS, RawTensor, check_finite

GGUF_TOP = {"embedding": "token_embd.weight", "head": "output.weight", "final_norm": "output_norm.weight"}
GGUF_LAYER = {
    "attention_norm": "attn_norm.weight",
    "q": "attn_q.weight",
    "k": "attn_k.weight",
    "v": "attn_v.weight",
    "q_bias": "attn_q.bias",
    "k_bias": "attn_k.bias",
    "v_bias": "attn_v.bias",
    "q_norm": "attn_q_norm.weight",
    "k_norm": "attn_k_norm.weight",
    "attention_out": "attn_output.weight",
    "post_attention_norm": "post_attention_norm.weight",
    "ffn_norm": "ffn_norm.weight",
    "gate": "ffn_gate.weight",
    "up": "ffn_up.weight",
    "down": "ffn_down.weight",
    "post_ffn_norm": "post_ffw_norm.weight",
    "router": "ffn_gate_inp.weight",
    "router_bias": "ffn_gate_inp.bias",
    "sinks": "attn_sinks.weight",
    "attention_out_bias": "attn_output.bias",
}
GGUF_GPT_OSS_LAYER = {**GGUF_LAYER, "ffn_norm": "post_attention_norm.weight"}
FEED_FORWARD = ("gate", "up", "down")
EXPERT_BIASES = ("gate_bias", "up_bias", "down_bias")
ROTATED = ("q", "k", "q_bias", "k_bias")
FREQUENCIES = "rope_freqs.weight"  # Llama 3's divisors
VECTOR_ENDS = ("norm", "bias", "sinks")
OTHER_SENSES = ("v.", "mm.", "a.")  # of a model that also sees or hears; a text's answer does not meet them


class Checkpoint(Protocol):
    @property
    def config(self) -> DecoderConfig: ...

    def tensor(self, name: str) -> RawTensor:
        """Raises ModelFileError when the file lacks it."""
        ...


def layer_names(config: DecoderConfig) -> tuple[list[str], list[str]]:
    """Names (without the layer's prefix) of a layer's vectors and of its matrices. Experts' biases: expert_vectors."""
    vectors = ["attention_norm", "ffn_norm"]
    vectors += ["q_bias", "k_bias", "v_bias"] if config.qkv_bias else []
    vectors += ["q_norm", "k_norm"] if config.qk_norm else []
    vectors += ["post_attention_norm", "post_ffn_norm"] if config.post_norms else []
    vectors += ["sinks"] if config.attention_sinks else []
    vectors += ["attention_out_bias"] if config.attention_out_bias else []
    vectors += ["router_bias"] if config.expert_biases else []
    attention = ["q", "k", "v", "attention_out"]
    if not config.num_experts:
        return vectors, [*attention, *FEED_FORWARD]
    experts = [f"experts.{expert}.{name}" for expert in range(config.num_experts) for name in FEED_FORWARD]
    return vectors, [*attention, "router", *experts]


def expert_vectors(config: DecoderConfig) -> list[str]:
    """Names (without the layer's prefix) of the experts' biases."""
    names = EXPERT_BIASES if config.expert_biases else ()
    return [f"experts.{expert}.{name}" for expert in range(config.num_experts) for name in names]


def expected_shape(config: DecoderConfig, name: str) -> tuple[int, int]:
    """(rows, columns) that `name` must have in a model of this shape; vectors are one row."""
    query_width, kv_width = config.num_heads * config.head_width, config.num_kv_heads * config.head_width
    shapes = {
        "embedding": (config.vocab_size, config.width),
        "head": (config.vocab_size, config.width),
        "q": (query_width, config.width),
        "k": (kv_width, config.width),
        "v": (kv_width, config.width),
        "attention_out": (config.width, query_width),
        "gate": (config.ffn_width, config.width),
        "up": (config.ffn_width, config.width),
        "down": (config.width, config.ffn_width),
        "router": (config.num_experts, config.width),
        "q_bias": (1, query_width),
        "k_bias": (1, kv_width),
        "v_bias": (1, kv_width),
        "q_norm": (1, config.head_width),
        "k_norm": (1, config.head_width),
        "sinks": (1, config.num_heads),
        "router_bias": (1, config.num_experts),
        "gate_bias": (1, config.ffn_width),
        "up_bias": (1, config.ffn_width),
    }
    return shapes.get(name.rsplit(".", 1)[-1], (1, config.width))


def check_shape(config: DecoderConfig, name: str, rows: int, columns: int, origin: Path) -> None:
    expected = expected_shape(config, name)
    if (rows, columns) != expected:
        raise ModelFileError(
            f"{origin}: tensor {name} is {rows} x {columns}, the model's shape asks for "
            f"{expected[0]} x {expected[1]}; the file is damaged or of another model"
        )


def all_names(config: DecoderConfig) -> Iterable[str]:
    """Names of all of a model's tensors; of the experts of a layer the first one stands for all."""
    yield from ("embedding", "head", "final_norm")
    vectors, matrices = layer_names(config)
    names = (*vectors, *matrices, *expert_vectors(config))
    firsts = [name for name in names if not name.startswith("experts.") or name.startswith("experts.0.")]
    for layer in range(config.num_layers):
        for name in firsts:
            yield f"layers.{layer}.{name}"


def refuse_unread(found: Iterable[str], used: Iterable[str], config: DecoderConfig, origin: Path) -> None:
    """Raises UnsupportedModel for tensors that nothing here reads: an answer without them would be wrong."""
    refuse_left_over(found, used, config.architecture, origin)


def refuse_left_over(found: Iterable[str], used: Iterable[str], architecture: str, origin: Path) -> None:
    """As `refuse_unread`, for any kind of model."""
    if unread := sorted(set(found) - set(used)):
        more = f" and {len(unread) - 1} more" if unread[1:] else ""
        raise UnsupportedModel(
            f"{origin}: the tensor {unread[0]!r}{more} is none that a {architecture} decoder has here; "
            "answers would be wrong without it"
        )


class GgufCheckpoint:
    def __init__(self, path: Path) -> None:
        self.file = GgufModel(path)
        embedding = self.file.tensors.get(GGUF_TOP["embedding"])
        if embedding is None:
            raise ModelFileError(f"{path} has no tensor {GGUF_TOP['embedding']!r}; it is not a language model")
        divisors: tuple[float, ...] = ()
        if frequencies := self.file.tensors.get(FREQUENCIES):
            if frequencies.type != GGMLQuantizationType.F32:
                raise ModelFileError(f"{path}: {FREQUENCIES} is in {frequencies.type.name}; F32 belongs there")
            divisors = frequency_divisors(self.file.read(FREQUENCIES).view(np.float32).ravel(), str(path))
        self.config = from_gguf(self.file.metadata, self.file.tensors, divisors, str(path))
        self._check_tensors()

    def _check_tensors(self) -> None:
        """Every tensor of the model is there, of its shape; and none that nobody reads."""
        used = {FREQUENCIES}
        for name in all_names(self.config):
            stored = self._stored_name(name)
            used.add(stored)
            entry = self.file.tensors.get(stored)
            if entry is None:
                raise ModelFileError(f"{self.file.path} has no tensor {stored!r}; it is not a complete model")
            rows, columns = math.prod(entry.shape[:-1]), entry.shape[-1]
            if ".experts." in name:
                if rows % self.config.num_experts:
                    raise ModelFileError(f"{self.file.path}: {stored!r} is not of {self.config.num_experts} experts")
                rows //= self.config.num_experts
            check_shape(self.config, name, rows, columns, self.file.path)
        found = (name for name in self.file.tensors if not name.startswith(OTHER_SENSES))
        refuse_unread(found, used, self.config, self.file.path)

    def tensor(self, name: str) -> RawTensor:
        stored = self._stored_name(name)
        if stored not in self.file.tensors:
            raise ModelFileError(f"{self.file.path} has no tensor {stored!r}; it is not a complete model")
        entry, data = self.file.tensors[stored], self.file.read(stored)
        if ".experts." in name:  # GGUF stacks the experts of a layer
            rows = len(data) // self.config.num_experts
            first = int(name.split(".")[3]) * rows
            data = data[first : first + rows]
        tensor = RawTensor(entry.type, len(data), entry.shape[-1], data)
        check_shape(self.config, name, tensor.rows, tensor.columns, self.file.path)
        part = name.rsplit(".", 1)[-1]
        if part.endswith(VECTOR_ENDS) and tensor.type not in FLOATS:
            raise UnsupportedModel(f"{self.file.path}: the vector {stored} is in {tensor.type.name}, not in F32")
        check_finite(tensor, stored, str(self.file.path))
        if part in ROTATED and self.file.metadata["general.architecture"] == "llama":
            return self._halves_restored(tensor, part)
        return tensor

    def _stored_name(self, name: str) -> str:
        if name == "head" and self.config.tied_head:
            return GGUF_TOP["embedding"]
        if name in GGUF_TOP:
            return GGUF_TOP[name]
        _, layer, part = name.split(".", 2)
        if part.startswith("experts."):
            name, _, bias = part.rsplit(".", 1)[1].partition("_")
            return f"blk.{layer}.ffn_{name}_exps.{bias or 'weight'}"
        names = GGUF_GPT_OSS_LAYER if self.config.architecture == "gpt_oss" else GGUF_LAYER
        return f"blk.{layer}.{names[part]}"

    def _halves_restored(self, tensor: RawTensor, part: str) -> RawTensor:
        """Rows 2j and 2j+1 of each head become rows j and j + head_width / 2."""
        head_width = self.config.head_width
        if part.endswith("_bias"):
            each = tensor.data.shape[-1] // tensor.columns  # bytes
            values = tensor.data.reshape(-1, head_width // 2, 2, each)
            data: np.ndarray = np.ascontiguousarray(values.swapaxes(1, 2)).reshape(1, -1)
        else:
            pairs = tensor.data.reshape(-1, head_width // 2, 2, tensor.data.shape[-1])
            data = np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(tensor.data.shape)
        return RawTensor(tensor.type, tensor.rows, tensor.columns, data)
