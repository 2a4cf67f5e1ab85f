"""Blocks are tested on tiny tensors: one thread."""

from tests.vblocks.core_models import one_thread

__all__ = ["one_thread"]
