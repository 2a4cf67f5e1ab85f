"""What a fuzzer opens, by format: a good file, and the way from a spoiled one to a first sweep or a first encoding."""

from __future__ import annotations

import copy
import hashlib
import json
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from safetensors.numpy import save

from tests.fuzz.mutations import ARRAY, BOOL, F32, I32, STRING, U32, Gguf, spoiled_gguf, spoiled_json
from vortex.errors import VortexError
from vortex.models.cores import open_core
from vortex.models.decoder.opening import open_decoder, packed_folder
from vortex.models.opened import LoadOptions, Opened
from vortex.tokenizer.house import load_tokenizer
from vortex.tokenizer.vortex_tok import load_vortex_tokenizer
from vortex.tokenizer.vortex_tok.files import HEAD_FILE, SHIPPED_FOLDER, save_vocabulary
from vortex.tokenizer.vortex_tok.vocabulary import Parse, Vocabulary, ordered_pieces
from vortex.types import Span
from vortex.vblocks.config import CoreConfig
from vortex.vblocks.layout import tensor_shapes

Target = Callable[[random.Random, Path], None]  # spoil, write into the empty folder, open; raises what opening raises
WIDTH, FFN, HEADS, KV_HEADS, HEAD, VOCABULARY, LAYERS = 64, 96, 4, 2, 16, 20, 2
TEXT = "a ab abba. <|end|> ñandú 12" + " " * 30
PIECES = [chr(number) for number in range(0x61, 0x61 + 15)] + ["Ġ", "ab", "abb", "<|end|>", "<|user|>"]
EXTRA_KEYS = [
    *(f"llama.{key}" for key in ("rope.scaling.type", "rope.scaling.factor", "rope.dimension_count", "expert_count",
      "expert_used_count", "attention.key_length", "attention.value_length", "attention.scale", "logit_scale",
      "attention.sliding_window", "rope.scaling.original_context_length", "attention.head_count_kv", "unheard_of")),
    "split.count", "split.no", "split.tensors.count", "general.alignment", "tokenizer.ggml.scores",
    "tokenizer.ggml.add_bos_token", "tokenizer.chat_template", "tokenizer.ggml.eot_token_id",
]  # fmt: skip


def sweep(opened: Opened[Any], text: str = TEXT) -> None:
    """A first chunk and a next token, as an engine would."""
    ids = opened.tokenizer.encode(text)[:40]
    state = opened.model.new_state()
    try:
        if ids:
            opened.model.sweep([Span(state, ids)])
        opened.tokenizer.decode(ids)
    finally:
        state.close()
        opened.model.close()


def _options(folder: Path) -> LoadOptions:
    return LoadOptions(packed_root=folder / "packed", device="cpu", threads=1)


def _weights(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A tiny llama's, by GGUF's names, rows first."""
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (VOCABULARY, WIDTH), "output_norm.weight": (WIDTH,)}
    for layer in range(LAYERS):
        prefix = f"blk.{layer}."
        shapes |= {f"{prefix}{name}_norm.weight": (WIDTH,) for name in ("attn", "ffn")}
        shapes |= {
            f"{prefix}attn_q.weight": (HEADS * HEAD, WIDTH),
            f"{prefix}attn_output.weight": (WIDTH, HEADS * HEAD),
        }
        shapes |= {f"{prefix}attn_{name}.weight": (KV_HEADS * HEAD, WIDTH) for name in "kv"}
        shapes |= {f"{prefix}ffn_{name}.weight": (FFN, WIDTH) for name in ("gate", "up")}
        shapes[f"{prefix}ffn_down.weight"] = (WIDTH, FFN)
    return {name: 0.3 * rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def good_gguf() -> Gguf:
    numbers = {"block_count": LAYERS, "context_length": 128, "embedding_length": WIDTH, "feed_forward_length": FFN,
               "attention.head_count": HEADS, "attention.head_count_kv": KV_HEADS}  # fmt: skip
    fields: list[tuple[str, int, Any]] = [("general.architecture", STRING, "llama")]
    fields += [(f"llama.{key}", U32, value) for key, value in numbers.items()]
    fields += [("llama.attention.layer_norm_rms_epsilon", F32, 1e-6), ("llama.rope.freq_base", F32, 10_000.0)]
    fields += [("tokenizer.ggml.model", STRING, "gpt2"), ("tokenizer.ggml.pre", STRING, "gpt-2")]
    fields += [("tokenizer.ggml.tokens", ARRAY, (STRING, PIECES))]
    fields += [("tokenizer.ggml.token_type", ARRAY, (I32, [1] * 18 + [3, 3]))]
    fields += [("tokenizer.ggml.merges", ARRAY, (STRING, ["a b", "ab b"]))]
    fields += [("tokenizer.ggml.eos_token_id", U32, 18), ("tokenizer.ggml.add_bos_token", BOOL, False)]
    file = Gguf(fields)
    for name, weight in _weights(np.random.default_rng(7)).items():
        file.tensors.append((name, list(weight.shape[::-1]), 0, len(file.data)))
        file.data += weight.tobytes()
        file.data += bytes(-len(file.data) % file.alignment)
    return file


def gguf(rng: random.Random, folder: Path) -> None:
    path = folder / "model.gguf"
    base = good_gguf()
    if rng.random() < 0.3:  # the other kind of vocabulary
        kinds = {"tokenizer.ggml.model": "llama"}
        base.fields = [(key, kind, kinds.get(key, value)) for key, kind, value in base.fields]
        base.fields.append(("tokenizer.ggml.scores", ARRAY, (F32, [float(-i) for i in range(VOCABULARY)])))
    path.write_bytes(spoiled_gguf(rng, base, EXTRA_KEYS))
    sweep(open_decoder(path, _options(folder)))


HF_CONFIG = {
    "model_type": "llama", "hidden_size": WIDTH, "intermediate_size": FFN, "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HEAD, "vocab_size": VOCABULARY,
    "max_position_embeddings": 128, "rms_norm_eps": 1e-6, "tie_word_embeddings": True, "hidden_act": "silu",
    "attention_bias": False, "rope_parameters": {"rope_theta": 10_000.0, "rope_type": "llama3", "factor": 8.0,
    "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}, "eos_token_id": 18,
}  # fmt: skip
HF_NAMES = {"token_embd": "embed_tokens", "output_norm": "norm", "attn_norm": "input_layernorm",
            "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
            "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj",
            "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}  # fmt: skip
TOKENIZER = {
    "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None,
    "added_tokens": [{"id": 18, "content": "<|end|>", "single_word": False, "lstrip": False, "rstrip": False,
                      "normalized": False, "special": True}],
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": " ?[a-z]+|.+"}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]},
    "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
    "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
              "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
              "vocab": {piece: i for i, piece in enumerate(PIECES[:18])}, "merges": ["a b", "ab b"]},
}  # fmt: skip
TOKENIZER_CONFIG = {"eos_token": {"content": "<|end|>"}, "bos_token": "a", "add_bos_token": False,
                    "chat_template": [{"name": "default", "template": "{{ messages }}"}]}  # fmt: skip
PATTERNS = ["(a+)+$", "(a|aa)+$", "(\\w+\\s?)+$", "(", "[", "(?<=a)b", "(a*)*b", "\\p{Foo}", "(?:a?){3000}"]


def _hf_tensors() -> dict[str, np.ndarray]:
    tensors = {}
    for name, weight in _weights(np.random.default_rng(7)).items():
        parts = name.split(".")
        layer = f"layers.{parts[1]}." if parts[0] == "blk" else ""
        tensors[f"model.{layer}{HF_NAMES[parts[-2]]}.weight"] = weight
    return tensors


def safetensors(rng: random.Random, folder: Path) -> None:
    data = save(_hf_tensors())
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    (folder / "config.json").write_text(json.dumps(HF_CONFIG))
    if rng.random() < 0.5:
        (folder / "config.json").write_bytes(spoiled_json(rng, HF_CONFIG))
    else:
        size = int.from_bytes(data[:8], "little")
        header = spoiled_json(rng, json.loads(data[8 : 8 + size]))
        length = rng.choice([len(header)] * 8 + [0, len(header) - 1, 2**31, 2**63])
        data = struct.pack("<Q", length) + header + data[8 + size :]
    (folder / "model.safetensors").write_bytes(data)
    sweep(open_decoder(folder, _options(folder)))


def tokenizer_json(rng: random.Random, folder: Path) -> None:
    documents = {"tokenizer.json": TOKENIZER, "tokenizer_config.json": TOKENIZER_CONFIG, "config.json": HF_CONFIG}
    spoiled = rng.choice(["tokenizer.json", "tokenizer.json", "tokenizer_config.json"])
    for name, document in documents.items():
        document = copy.deepcopy(document)
        if name == spoiled == "tokenizer.json" and rng.random() < 0.2:
            document["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = rng.choice(PATTERNS)  # type: ignore[index]  # of JSON
        data = spoiled_json(rng, document) if name == spoiled else json.dumps(document).encode()
        (folder / name).write_bytes(data)
    tokenizer = load_tokenizer(folder)
    for text in (TEXT, "a" * 80 + "!", ""):
        tokenizer.decode(tokenizer.encode(text))


_packed: dict[str, Path] = {}


def c3(rng: random.Random, folder: Path) -> None:
    """Index and settings of a folder that was packed well once. Bytes have checksums and are not the matter here."""
    if "c3" not in _packed:
        keep = folder.parent / "good"
        keep.mkdir()
        source = keep / "model.gguf"
        source.write_bytes(good_gguf().to_bytes())
        _packed["c3"] = packed_folder(source, _options(keep)).path
        _packed["source"] = source
    target = folder / "packed" / _packed["c3"].name
    shutil.copytree(_packed["c3"], target)
    name = rng.choice(["index.json"] * 4 + ["tokenizer_settings.json"])
    (target / name).write_bytes(spoiled_json(rng, json.loads((target / name).read_text())))
    source = folder / "model.gguf"
    shutil.copy(_packed["source"], source)
    before = (target / "index.json").read_bytes()
    try:
        sweep(open_decoder(source, _options(folder)))
    except VortexError:
        assert target.exists() or before, "a damaged folder may be gone, to be packed anew"
        raise


CORE = CoreConfig(vocab_size=300, width=32, num_layers=2, num_heads=2, key_dim=16, value_dim=16, mlp_width=64,
                  local_window=8, lava_period=2, lava_key_dim=16, lava_value_dim=16, lava_slots=32,
                  mtp_k=1)  # fmt: skip


def core(rng: random.Random, folder: Path) -> None:
    """The head is spoiled before the file is written, so that its checksum fits."""
    generator = np.random.default_rng(3)
    tensors = {name: 0.2 * generator.standard_normal(shape, np.float32) for name, shape in tensor_shapes(CORE).items()}
    head = {"format": "vortex-core", "version": 1, "tokenizer": "bytes", "core": CORE.to_json(), "notes": {"steps": 1}}
    if rng.random() < 0.2:
        name = rng.choice(sorted(tensors))
        tensors[name] = rng.choice([tensors[name] * np.nan, tensors[name][..., :1], tensors[name].astype(np.int8),
                                    tensors[name].astype(np.float64), np.zeros((0,), np.float32)])  # fmt: skip
    said = json.dumps(head).encode() if rng.random() < 0.1 else spoiled_json(rng, head)
    digest = xxhash.xxh3_64()
    for name in sorted(tensors):
        digest.update(name.encode() + np.ascontiguousarray(tensors[name]).tobytes())
    tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    (folder / "config.json").write_text(json.dumps(head))
    metadata = {"vortex": said.decode("utf-8", errors="replace"), "xxh3": digest.hexdigest()}
    (folder / "model.safetensors").write_bytes(save(tensors, metadata))
    sweep(open_core(folder, _options(folder)))


def vortex_tok(rng: random.Random, folder: Path) -> None:
    """Either the head is spoiled, or the trie and what the head says of it."""
    more = {b"ab", b"abb", b"the", b" the quick brown fox "}
    pieces = ordered_pieces({bytes([value]) for value in range(256)} | more)
    vocabulary = Vocabulary(pieces, tuple(range(1, len(pieces) + 1)), Parse.UNIGRAM)
    save_vocabulary(vocabulary, folder, {"corpus": "x"})
    head = json.loads((folder / HEAD_FILE).read_text())
    if rng.random() < 0.5:
        trie = folder / head["trie"]["file"]
        data = bytearray(trie.read_bytes())
        for _ in range(rng.choice([1, 2, 8])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        data = data[: rng.choice([len(data)] * 4 + [0, 11, len(data) - 3])]
        trie.write_bytes(data)
        head["trie"]["sha256"] = hashlib.sha256(data).hexdigest()
        (folder / HEAD_FILE).write_text(json.dumps(head))
    else:
        (folder / HEAD_FILE).write_bytes(spoiled_json(rng, head))
    tokenizer = load_vortex_tokenizer(folder)
    tokenizer.decode(tokenizer.encode(TEXT))


assert SHIPPED_FOLDER.is_dir()
TARGETS: dict[str, Target] = {
    "gguf": gguf,
    "safetensors": safetensors,
    "c3": c3,
    "core": core,
    "vortex_tok": vortex_tok,
    "tokenizer_json": tokenizer_json,
}
