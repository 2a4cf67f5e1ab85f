"""fp32 logits of a model by the `transformers` library: what our own decoder is measured against.

Built from the same file (a GGUF's blocks are unpacked to float32, or a safetensors folder is read), so that what is
measured is arithmetic and not a conversion. Slow and large on purpose; used by bench alone.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vortex.errors import MissingCapability


class TransformersReference:
    """Logits of a whole window at once, float32 on the CPU."""

    def __init__(self, path: Path) -> None:
        """`path`: a GGUF file or a safetensors folder. Raises MissingCapability without `transformers`."""
        try:
            import torch
            import transformers
        except ImportError as error:
            raise MissingCapability("the reference needs transformers: pip install transformers accelerate") from error
        transformers.utils.logging.set_verbosity_error()
        options = {} if path.is_dir() else {"gguf_file": path.name}
        folder = path if path.is_dir() else path.parent
        self.name = f"transformers {transformers.__version__} fp32"
        self._torch = torch
        with contextlib.redirect_stderr(io.StringIO()):  # progress bars that cannot be switched off
            self._model = transformers.AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, **options
            )
        self._model.eval()

    def logits(self, token_ids: Sequence[int]) -> np.ndarray:
        """float32 [tokens, vocab]."""
        with self._torch.inference_mode():
            output = self._model(self._torch.tensor([list(token_ids)]), use_cache=False)
        logits: np.ndarray = output.logits[0].float().numpy()
        return logits
