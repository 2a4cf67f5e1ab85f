"""A teacher: any model of the `transformers` library, from a GGUF file or a safetensors folder, with its tokenizer.

Gives logits and the hidden states between layers, and writes text in batches. It is frozen and never trained here. In
4 bit it needs a GPU and bitsandbytes; a GGUF file, which is quantised already, is unpacked to floats instead.
Shapes: B rows, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vortex.errors import MissingCapability
from vortex.machine.installation import add_extra
from vortex.models.files.checkpoint import GgufCheckpoint
from vortex.tokenizer.chat_format import TemplateChatFormat
from vortex.tokenizer.files import TokenizerFiles
from vortex.tokenizer.gguf import tokenizer_files_from_gguf
from vortex.tokenizer.house import HouseTokenizer
from vortex.tokenizer.huggingface import tokenizer_files_from_folder


@dataclass(frozen=True, slots=True)
class TeacherOutput:
    """logits_BTV. hidden: after the embedding and after each layer, [B, T, D] each; the last one is not normed."""

    logits_BTV: torch.Tensor
    hidden: tuple[torch.Tensor, ...]


class Teacher:
    """`model` is the transformers module itself, for those who copy its weights."""

    def __init__(self, name: str, model: Any, files: TokenizerFiles, device: torch.device) -> None:
        self.name = name
        self.model = model
        self.files = files
        self.device = device
        self.tokenizer = HouseTokenizer(files)
        self.chat_format = TemplateChatFormat(self.tokenizer)
        takes_cache = "cache" in inspect.signature(model.forward).parameters
        self._cache_name = "cache" if takes_cache else "past_key_values"  # its older name

    @torch.no_grad()
    def forward(self, token_ids_BT: torch.Tensor) -> TeacherOutput:
        """Every layer's input is caught by a hook: the library norms the last hidden state it reports."""
        caught: list[torch.Tensor] = []
        layers = self.model.model.layers
        hooks = [
            layer.register_forward_pre_hook(
                lambda _, args, kwargs: caught.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
            )
            for layer in layers
        ]
        hooks.append(self.model.model.norm.register_forward_pre_hook(lambda _, args: caught.append(args[0])))
        try:
            logits = self.model(token_ids_BT, use_cache=False).logits
        finally:
            for hook in hooks:
                hook.remove()
        return TeacherOutput(logits, tuple(caught))

    @torch.no_grad()
    def hidden(self, token_ids_BT: torch.Tensor) -> torch.Tensor:
        """The last hidden rows, normed: what the unembedding reads, [B, T, D]."""
        rows: torch.Tensor = self.model.model(token_ids_BT, use_cache=False).last_hidden_state
        return rows

    @torch.no_grad()
    def logits_of(self, hidden_BTD: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model.get_output_embeddings()(hidden_BTD)
        return logits

    @torch.no_grad()
    def write(
        self, prompts: Sequence[Sequence[int]], max_tokens: int, *, seed: int, temperature: float = 0.7, top_k: int = 40
    ) -> list[list[int]]:
        """An answer to each prompt, without its end; an answer that did not end has `max_tokens` tokens."""
        ends = torch.tensor(sorted(self.tokenizer.end_ids), device=self.device)
        width = max(map(len, prompts))
        padded = [[0] * (width - len(prompt)) + list(prompt) for prompt in prompts]
        ids_BT = torch.tensor(padded, device=self.device)
        kept = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        mask_BT = torch.tensor(kept, device=self.device)
        position_BT = (mask_BT.cumsum(1) - 1).clamp(min=0)
        generator = torch.Generator(self.device).manual_seed(seed)
        done_B = torch.zeros(len(prompts), dtype=torch.bool, device=self.device)
        cache, written = None, []
        for _ in range(max_tokens):
            out = self.model(
                ids_BT, attention_mask=mask_BT, position_ids=position_BT, use_cache=True, logits_to_keep=1,
                **{self._cache_name: cache},
            )  # fmt: skip
            cache = getattr(out, self._cache_name)
            best = (out.logits[:, -1].float() / temperature).topk(top_k)
            chosen = torch.multinomial(best.values.softmax(-1), 1, generator=generator)
            ids_BT = best.indices.gather(1, chosen)
            done_B |= torch.isin(ids_BT[:, 0], ends)
            written.append(torch.where(done_B, -1, ids_BT[:, 0]))
            if bool(done_B.all()):
                break
            mask_BT = torch.cat([mask_BT, torch.ones_like(ids_BT)], 1)
            position_BT = position_BT[:, -1:] + 1
        rows = torch.stack(written, 1).tolist()
        return [[token for token in row if token >= 0] for row in rows]


def open_teacher(name: str, path: Path, *, device: torch.device, quant: str | None = None) -> Teacher:
    """`path`: a GGUF file or a folder. `quant`: "4bit" or None. Raises MissingCapability, ModelFileError."""
    if importlib.util.find_spec("transformers") is None:
        raise MissingCapability(f"a teacher needs transformers, which is not installed: {add_extra('train')}")
    import transformers

    transformers.utils.logging.set_verbosity_error()
    is_folder = path.is_dir()
    options: dict[str, Any] = {} if is_folder else {"gguf_file": path.name}
    if quant == "4bit" and is_folder:
        options["quantization_config"] = _four_bits(transformers, device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    with contextlib.redirect_stderr(io.StringIO()):  # progress bars that cannot be switched off
        model = transformers.AutoModelForCausalLM.from_pretrained(
            path if is_folder else path.parent, dtype=dtype, local_files_only=True, **options
        )
    model.requires_grad_(False)
    files = tokenizer_files_from_folder(path) if is_folder else _gguf_files(path)
    return Teacher(name, model.eval().to(device), files, device)


def check_quant(name: str, quant: str | None, device: torch.device) -> None:
    """Before anything is fetched: a repository's model in 4 bit. Raises MissingCapability."""
    if quant == "4bit" and "/" in name and not Path(name).exists():
        _need_four_bits(device)


def _need_four_bits(device: torch.device) -> None:
    if device.type != "cuda" or importlib.util.find_spec("bitsandbytes") is None:
        raise MissingCapability(
            "a teacher in 4 bit needs a GPU and bitsandbytes (pip install bitsandbytes); "
            "leave --teacher-quant out, or name a GGUF file that is 4 bit already"
        )


def _four_bits(transformers: Any, device: torch.device) -> Any:
    _need_four_bits(device)
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )


def _gguf_files(path: Path) -> TokenizerFiles:
    return tokenizer_files_from_gguf(GgufCheckpoint(path).file.metadata)
