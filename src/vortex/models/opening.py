"""The one door: from files on this machine to a model that can be swept, whatever kind it is.

A V-Blocks core opens as one, GGUF files and safetensors folders as the house's decoder or as one of the families
(docs/families.md), or by the transformers library where that is asked for. Only what a model needs is imported.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from vortex.hub.cache import ResolvedModel
from vortex.models.families.opening import is_family
from vortex.models.files.identity import weights_identity
from vortex.models.hash_model import HashModel, HashModelOptions
from vortex.models.opened import LoadOptions, Opened
from vortex.protocols import LanguageModel
from vortex.tokenizer.byte_tokenizer import CONTROL_TEXT, ByteChatFormat, ByteTokenizer
from vortex.vblocks.checkpoint import is_core

if TYPE_CHECKING:
    from vortex.models.cores import CoreOptions


def open_resolved(
    resolved: ResolvedModel, options: LoadOptions, core: CoreOptions | None = None, *, by_transformers: bool = False
) -> Opened[LanguageModel]:
    """The model of these files, under the name that found them. core: what to change in a V-Blocks core.

    Raises ModelNotFound, ModelFileError, UnsupportedModel, MissingCapability, ConfigError, StorageError.
    """
    opened: Opened[LanguageModel]
    if by_transformers:
        from vortex.models.hf.opening import open_hf

        opened = open_hf(resolved.path, options)
    elif is_core(resolved.path):
        from vortex.models.cores import open_core

        opened = open_core(resolved.path, options, core)
    elif is_family(resolved.path):
        from vortex.models.families.opening import open_family

        opened = open_family(resolved.path, options)
    else:
        from vortex.models.decoder.opening import open_decoder

        opened = open_decoder(resolved.path, options)
    return replace(
        opened,
        name=resolved.name,
        licence=opened.licence or resolved.licence,
        origin=resolved.origin,
        identity=partial(weights_identity, resolved.path, options.form, resolved.made_folder),
    )


def open_hash() -> Opened[HashModel]:
    """A model without weights that never ends an answer by itself."""
    tokenizer = ByteTokenizer()
    favour = np.zeros(tokenizer.vocab_size, np.float32)
    favour[list(CONTROL_TEXT)] = -100.0
    options = HashModelOptions(vocab_size=tokenizer.vocab_size, context_length=None, favour=favour)
    model = HashModel(options)
    return Opened(name="hash", path=None, model=model, tokenizer=tokenizer, chat_format=ByteChatFormat())
