"""What the door (opening.py) is asked and what it hands out, for every kind of model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from vortex.protocols import ChatFormat, LanguageModel, Tokenizer

PackProgress = Callable[[int, int], None]  # steps done, steps in all
Model_co = TypeVar("Model_co", bound=LanguageModel, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """`form` auto: as the file has it, floats as int8; float32: the slow reference. `device`: auto, cpu, cuda."""

    packed_root: Path
    form: str = "auto"
    device: str = "auto"
    threads: int = 0  # 0: machine/cores.py says
    context_limit: int = 0  # 0: the model's own
    kv_bits: int = 16  # 8: a KV cache of half the size, on the native core
    budget_bytes: int = 0  # memory for weights; 0: all resident
    prefetch_depth: int = 1  # with a budget: largest units read ahead
    lock_memory: bool = False  # with a budget: never swapped out
    host_cache_bytes: int = 0  # with a budget, on a GPU: weights kept in ordinary memory between disk and GPU
    compress: bool | None = None  # when packing: lossless codecs where they pay; None: where they do by default
    progress: PackProgress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened(Generic[Model_co]):
    """A model in this process, with its tokenizer and its way to write a conversation.

    path: the file or folder it was read from; None for one without weights. licence: as its own files say it.
    """

    name: str
    path: Path | None
    model: Model_co
    tokenizer: Tokenizer
    chat_format: ChatFormat
    licence: str | None = None
    origin: str | None = None
    identity: Callable[[], str] | None = None
