"""Packed weights on disk: named bytes, memory-mapped or paged. Knows no architecture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from vortex.c3.torch.attachment import Attachment


def attach(model: Any, budget: int | str, *, folder: Path | None = None, **options: Any) -> Attachment:
    """Page the linears of a torch model under a budget: bytes, or text like "500MB".

    See vortex.c3.torch.attachment.attach_model, which has the options. Torch is loaded only now.
    """
    from vortex.c3.torch.attachment import attach_model

    return attach_model(model, budget, folder=folder, **options)
