"""Texts to vectors by a small BERT that was trained for it (MiniLM), in numpy: no torch, no GPU.

Promises that a text's vector depends on the texts beside it by rounding alone, and that nothing is cut off in silence.
Reads a folder with `config.json`, `tokenizer.json` and `model.safetensors`. Does not do: other poolings than the mean.
Shapes: N tokens of all texts together, D width, H heads.
Source: BERT (arXiv 1810.04805), MiniLM (2002.10957), mean pooling from Sentence-BERT (1908.10084).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from threadpoolctl import ThreadpoolController
from tokenizers import Tokenizer

from vortex.errors import ContextOverflow, ModelFileError, UnsupportedModel
from vortex.machine.cores import compute_threads

TOKENS_AT_ONCE = 1024  # texts go through together until they have so many


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
        self._blas = ThreadpoolController()
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
        """[texts, width] float32, each of length 1. Groups of texts go on a thread each, BLAS on one alone: its own
        threads wait for each other at every small product, ten times the work itself on a busy machine."""
        groups: list[list[Sequence[int]]] = [[]]
        for ids in token_ids:
            if groups[-1] and sum(map(len, groups[-1])) + len(ids) > TOKENS_AT_ONCE:
                groups.append([])
            groups[-1].append(ids)
        with self._blas.limit(limits=1, user_api="blas"):
            if len(groups) == 1:
                return np.stack(self._together(groups[0]))
            with ThreadPoolExecutor(min(compute_threads(), len(groups)), thread_name_prefix="vortex-embed") as workers:
                return np.stack([vector for done in workers.map(self._together, groups) for vector in done])

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
        """Heads go first and stand contiguous: only then is a product of stacks one of matrices to numpy."""
        q_HNd, k_HNd, v_HNd = (self._heads_first(self._linear(x_ND, f"{name}.{part}")) for part in _QKV)
        q_HNd *= 1 / np.sqrt(np.float32(q_HNd.shape[-1]))
        mixed_HNd = np.empty_like(q_HNd)
        for begin, end in bounds:
            scores = q_HNd[:, begin:end] @ np.ascontiguousarray(k_HNd[:, begin:end].transpose(0, 2, 1))
            scores -= scores.max(axis=-1, keepdims=True)
            np.exp(scores, out=scores)
            totals = scores.sum(axis=-1, keepdims=True)
            mixed_HNd[:, begin:end] = (scores @ v_HNd[:, begin:end]) / totals
        return mixed_HNd.transpose(1, 0, 2).reshape(x_ND.shape)

    def _heads_first(self, x_ND: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(x_ND.reshape(len(x_ND), self._heads, -1).transpose(1, 0, 2))

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
