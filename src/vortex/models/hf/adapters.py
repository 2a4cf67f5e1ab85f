"""Adapters in any transformers model: what each span's adapter adds to a linear layer is added behind it, by a hook.

Computed in float32 a span at a time, so that a span's bits are its own affair. Linear layers that see all rows of a
forward may be adapted; the head, and experts (which gather rows), stay as they are. A model that is never swept with an
adapter gets no hooks.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from vortex.models.hf.rows import is_linear
from vortex.types import Adapter

Carried = Sequence[tuple[slice, Adapter | None]]
Part = tuple[torch.Tensor, torch.Tensor]  # a, and b with the scale in it


class HfAdapters:
    """Of one model."""

    def __init__(self, model: Any) -> None:
        head = model.get_output_embeddings()
        self._linears = {
            name: module
            for name, module in model.named_modules()
            if is_linear(module) and module is not head and "expert" not in name
        }
        self._carried: Carried = ()
        self._hooks: list[Any] = []
        self._made: weakref.WeakKeyDictionary[Adapter, dict[str, Part]] = weakref.WeakKeyDictionary()

    def targets(self) -> Mapping[str, tuple[int, int]]:
        return {name: _shape(module) for name, module in self._linears.items()}

    def carry(self, rows: Carried) -> None:
        """In the coming forward these rows, all of its rows, have these adapters."""
        self._carried = rows if any(adapter is not None for _, adapter in rows) else ()
        if self._carried and not self._hooks:
            for name, module in self._linears.items():
                self._hooks.append(module.register_forward_hook(self._hook_of(name)))

    def close(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def _hook_of(self, name: str) -> Any:
        def add(_: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor | None:
            if not self._carried:
                return None
            x, y = inputs[0].flatten(0, -2), output.flatten(0, -2)
            assert len(x) == self._carried[-1][0].stop, f"{name} sees other rows than the forward has"
            for rows, adapter in self._carried:
                part = self._parts(adapter, x.device).get(name) if adapter is not None else None
                if part is not None:
                    delta = (x[rows].float() @ part[0].T) @ part[1].T
                    y[rows] = (y[rows].float() + delta).to(y.dtype)
            return y.view(output.shape)

        return add

    def _parts(self, adapter: Adapter, device: torch.device) -> dict[str, Part]:
        if adapter not in self._made:
            made = {}
            for name, part in adapter.parts.items():
                a, b = (torch.from_numpy(side.copy()).to(device) for side in part.dense())
                made[name] = (a, b * part.scale)
            self._made[adapter] = made
        return self._made[adapter]


def _shape(module: Any) -> tuple[int, int]:
    if hasattr(module, "out_features"):
        return module.out_features, module.in_features
    return module.nf, module.nx  # transformers' Conv1D
