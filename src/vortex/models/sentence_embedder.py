"""Texts to vectors by a small BERT that was trained for it (MiniLM), in numpy: no torch, no GPU.

Promises that a text's vector depends on the texts beside it by rounding alone, and that nothing is cut off in silence.
Reads a folder with `config.json`, `tokenizer.json` and `model.safetensors`. Does not do: other poolings than the mean.
Shapes: N tokens of all texts together, D width, H heads.
Source: BERT (arXiv 1810.04805), MiniLM (2002.10957), mean pooling from Sentence-BERT (1908.10084).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from vortex.errors import ContextOverflow, ModelFileError, UnsupportedModel

TOKENS_AT_ONCE = 4096  # texts go through together until they have so many


class SentenceEmbedder:
    """Raises ModelFileError for a folder that does not hold one, UnsupportedModel for another architecture."""

    def __init__(self, folder: Path) -> None:
        try:
            config = json.loads((folder / "config.json").read_bytes())
            self._weights = {name: array.astype(np.float32) for name, array in _floats(folder).items()}
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the libraries raise types of their own
            raise ModelFileError(f"{folder} is not a model for embeddings: {error}") from error
        wanted = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
        for key, value in wanted.items():
            if config.get(key, value) != value:
                raise UnsupportedModel(f"{folder}: {key} is {config[key]!r}; embeddings need {value!r}")
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._heads: int = config["num_attention_heads"]
        self._layers: int = config["num_hidden_layers"]
        self._epsilon: float = config["layer_norm_eps"]
        self.width: int = config["hidden_size"]
        self.max_tokens: int = config["max_position_embeddings"]

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, its two marks included. Raises ContextOverflow."""
        encoded = [found.ids for found in self._tokenizer.encode_batch(list(texts))]
        longest = max(map(len, encoded), default=0)
        if longest > self.max_tokens:
            raise ContextOverflow(
                f"an input has {longest} tokens and this model reads {self.max_tokens}; cut it into parts",
                param="input",
            )
        return encoded

    def embed(self, token_ids: Sequence[Sequence[int]]) -> np.ndarray:
        """[texts, width] float32, each of length 1."""
        vectors: list[np.ndarray] = []
        group: list[Sequence[int]] = []
        for ids in token_ids:
            if group and sum(map(len, group)) + len(ids) > TOKENS_AT_ONCE:
                vectors += self._together(group)
                group = []
            group.append(ids)
        return np.stack([*vectors, *self._together(group)])

    def _together(self, texts: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """One pass over the weights for all texts; each attends to itself alone."""
        ends = np.cumsum([len(ids) for ids in texts]).tolist()
        bounds = list(zip([0, *ends], ends, strict=False))
        ids_N = np.concatenate([np.asarray(ids) for ids in texts])
        positions_N = np.concatenate([np.arange(end - begin) for begin, end in bounds])
        x_ND = self._weights["embeddings.word_embeddings.weight"][ids_N]
        x_ND = x_ND + self._weights["embeddings.position_embeddings.weight"][positions_N]
        x_ND += self._weights["embeddings.token_type_embeddings.weight"][0]
        x_ND = self._norm(x_ND, "embeddings.LayerNorm")
        for layer in range(self._layers):
            name = f"encoder.layer.{layer}"
            mixed_ND = self._attend(x_ND, f"{name}.attention.self", bounds)
            x_ND = self._norm(
                x_ND + self._linear(mixed_ND, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm"
            )
            inner = gelu(self._linear(x_ND, f"{name}.intermediate.dense"))
            x_ND = self._norm(x_ND + self._linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        means = [x_ND[begin:end].mean(axis=0) for begin, end in bounds]
        return [mean / max(float(np.linalg.norm(mean)), 1e-12) for mean in means]

    def _attend(self, x_ND: np.ndarray, name: str, bounds: Sequence[tuple[int, int]]) -> np.ndarray:
        size = self.width // self._heads
        q, k, v = (self._linear(x_ND, f"{name}.{part}").reshape(-1, self._heads, size) for part in _QKV)
        mixed = np.empty_like(q)
        for begin, end in bounds:
            scores = np.einsum("qhd,khd->hqk", q[begin:end], k[begin:end], optimize=True) / np.sqrt(np.float32(size))
            weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
            weights /= weights.sum(axis=-1, keepdims=True)
            mixed[begin:end] = np.einsum("hqk,khd->qhd", weights, v[begin:end], optimize=True)
        return mixed.reshape(x_ND.shape)

    def _linear(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(self._epsilon))
        return centred / spread * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


_QKV = ("query", "key", "value")


def _floats(folder: Path) -> Mapping[str, np.ndarray]:
    weights = load_file(folder / "model.safetensors")
    return {name: array for name, array in weights.items() if array.dtype.kind == "f"}


def gelu(x: np.ndarray) -> np.ndarray:
    """x · Φ(x), float32. The error function by Abramowitz and Stegun 7.1.26, off by at most 1.5e-7."""
    z = np.abs(x) * np.float32(0.7071067811865476)
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    upper = 1 - series * np.exp(-z * z)
    return (0.5 * x * (1 + np.copysign(upper, x))).astype(np.float32)
