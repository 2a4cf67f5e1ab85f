"""A folder of safetensors files and a config.json, as a Checkpoint.

The header is read here (8 bytes of length, then JSON: the safetensors format, which has no more to it), because the
`safetensors` package gives numpy no bfloat16; tensor bytes are memory-mapped. Nothing in these files can run code.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gguf.constants import GGMLQuantizationType

from vortex.errors import ModelFileError
from vortex.models.files.checkpoint import check_shape, expert_vectors, layer_names, refuse_unread
from vortex.models.files.gpt_oss_experts import Stored, expert_tensor
from vortex.models.files.hf_config import from_hf
from vortex.models.files.quantised import read_quantisation
from vortex.models.files.quantised_tensors import with_quantised
from vortex.models.files.raw_tensor import RawTensor, check_finite
from vortex.models.files.stored_tensors import DTYPES, NUMPY_TYPES, StoredTensor, read_safetensors
from vortex.records.foreign import read_json_object

TOP = {"embedding": "model.embed_tokens.weight", "head": "lm_head.weight", "final_norm": "model.norm.weight"}
LAYER = {
    "attention_norm": "input_layernorm.weight",
    "q": "self_attn.q_proj.weight",
    "k": "self_attn.k_proj.weight",
    "v": "self_attn.v_proj.weight",
    "q_bias": "self_attn.q_proj.bias",
    "k_bias": "self_attn.k_proj.bias",
    "v_bias": "self_attn.v_proj.bias",
    "q_norm": "self_attn.q_norm.weight",
    "k_norm": "self_attn.k_norm.weight",
    "attention_out": "self_attn.o_proj.weight",
    "ffn_norm": "post_attention_layernorm.weight",
    "gate": "mlp.gate_proj.weight",
    "up": "mlp.up_proj.weight",
    "down": "mlp.down_proj.weight",
    "sinks": "self_attn.sinks",
    "attention_out_bias": "self_attn.o_proj.bias",
    "router_bias": "mlp.router.bias",
}
LAYER_WITH_POST_NORMS = {
    **LAYER,
    "post_attention_norm": "post_attention_layernorm.weight",
    "ffn_norm": "pre_feedforward_layernorm.weight",
    "post_ffn_norm": "post_feedforward_layernorm.weight",
}
QWEN_EXPERTS = {
    "router": "mlp.gate",
    "experts": "mlp.experts",
    "gate": "gate_proj",
    "up": "up_proj",
    "down": "down_proj",
}
MIXTRAL_EXPERTS = {
    "router": "block_sparse_moe.gate",
    "experts": "block_sparse_moe.experts",
    "gate": "w1",
    "up": "w3",
    "down": "w2",
}
GPT_OSS_EXPERTS = {"router": "mlp.router"}
GPT_OSS_STACKED = tuple(
    f"{stem}{end}" for stem in ("gate_up_proj", "down_proj") for end in ("", "_bias", "_blocks", "_scales")
)
OTHER_SENSES = ("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector.")
RECOMPUTED = (".rotary_emb.inv_freq",)  # written by early versions of transformers


class SafetensorsCheckpoint:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        values = read_json_object(folder / "config.json")
        self.config = from_hf(values.values_by_key, str(folder))
        self._tensors: dict[str, StoredTensor] = {}
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise ModelFileError(f"{folder} has no *.safetensors file; only safetensors and GGUF are ever loaded")
        for path in files:
            found = read_safetensors(path)
            if twice := sorted(found.keys() & self._tensors.keys()):
                raise ModelFileError(f"{folder}: the tensor {twice[0]!r} is in two files; keep one model per folder")
            self._tensors |= found
        if (quantisation := read_quantisation(values)) is not None:
            self._tensors = with_quantised(self._tensors, quantisation, str(folder))
        self._prefix = "language_model." if any(name.startswith("language_model.") for name in self._tensors) else ""
        self._check_tensors()

    def _check_tensors(self) -> None:
        """As many layers and experts as there are tensors for, and no tensor that nobody reads."""
        config, found = self.config, len(self._tensors)
        if config.num_layers > found or (config.num_experts > found and config.architecture != "gpt_oss"):
            raise ModelFileError(
                f"{self.folder} says {config.num_layers} layers and {config.num_experts} experts, and has {found} "
                "tensors; it is not a complete model"
            )
        used = {self._prefix + name for name in self._used_names()}
        left = (name for name in self._tensors if not name.startswith(OTHER_SENSES) and not name.endswith(RECOMPUTED))
        refuse_unread(left, used, config, self.folder)

    def _used_names(self) -> Iterator[str]:
        config = self.config
        yield TOP["head"]  # beside a tied one it is a copy of the embedding
        vectors, matrices = layer_names(config)
        for name in TOP:
            yield self._stored_name(name)
        for layer in range(config.num_layers):
            for part in (*vectors, *matrices, *expert_vectors(config)):
                if config.architecture != "gpt_oss" or not part.startswith("experts."):
                    yield self._stored_name(f"layers.{layer}.{part}")
            if config.architecture == "gpt_oss":
                yield from (f"model.layers.{layer}.mlp.experts.{name}" for name in GPT_OSS_STACKED)

    def tensor(self, name: str) -> RawTensor:
        if self.config.architecture == "gpt_oss" and ".experts." in name:
            return self._gpt_oss_expert(name)
        stored = self._tensors.get(self._prefix + self._stored_name(name))
        if stored is None:
            raise ModelFileError(f"{self.folder} has no tensor {self._stored_name(name)!r}; it is not a complete model")
        tensor = stored.raw(str(self.folder))
        check_shape(self.config, name, tensor.rows, tensor.columns, self.folder)
        check_finite(tensor, self._stored_name(name), str(self.folder))
        if self.config.architecture == "gemma3" and name.endswith("norm"):
            return self._plus_one(tensor)
        return tensor

    def _gpt_oss_expert(self, name: str) -> RawTensor:
        _, layer, _, expert, part = name.split(".")
        prefix = f"{self._prefix}model.layers.{layer}.mlp.experts."

        def read(suffix: str) -> Stored | None:
            stored = self._tensors.get(prefix + suffix)
            if stored is None or stored.dtype not in NUMPY_TYPES:
                return None
            return DTYPES.get(stored.dtype), stored.data.view(NUMPY_TYPES[stored.dtype]).reshape(stored.shape)

        try:
            tensor = expert_tensor(read, int(expert), part)
        except (IndexError, ValueError, AssertionError) as error:  # of other dimensions than experts have
            raise ModelFileError(f"{self.folder}: the experts of {prefix} are of other shapes ({error})") from error
        if tensor is None:
            raise ModelFileError(f"{self.folder} has no tensor {name!r}; it is not a complete model")
        check_shape(self.config, name, tensor.rows, tensor.columns, self.folder)
        check_finite(tensor, name, str(self.folder))
        return tensor

    def _stored_name(self, name: str) -> str:
        if name == "head" and self.config.tied_head:
            return TOP["embedding"]
        if name in TOP:
            return TOP[name]
        _, layer, part = name.split(".", 2)
        if part == "router" or part.startswith("experts."):
            return f"model.layers.{layer}.{self._expert_part(part)}.weight"
        names = LAYER_WITH_POST_NORMS if self.config.post_norms else LAYER
        return f"model.layers.{layer}.{names[part]}"

    def _expert_part(self, part: str) -> str:
        is_mixtral = f"model.layers.0.{MIXTRAL_EXPERTS['router']}.weight" in self._tensors
        if self.config.architecture == "gpt_oss":
            return GPT_OSS_EXPERTS[part]
        names = MIXTRAL_EXPERTS if is_mixtral else QWEN_EXPERTS
        return ".".join(names.get(piece, piece) for piece in part.split("."))

    def _plus_one(self, tensor: RawTensor) -> RawTensor:
        from gguf.quants import dequantize

        weight = dequantize(tensor.data, tensor.type).reshape(1, -1).astype(np.float32) + 1
        return RawTensor(GGMLQuantizationType.F32, 1, tensor.columns, weight.view(np.uint8))
