"""A linear layer whose weight lives in a `.c3` folder, and the source that its kind share.

PagedLinear promises the bits of the layer it stands for: it makes the very same product, over leased bytes instead of
a parameter. With a codec that rounds (quantised_linear.py) it has that codec's bits, whatever is paged. `PagedWeights`
leases units from a pager; it learns the order in which a forward uses them from the first one, and aims the pager's
reads by it from the second one on.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from vortex.c3.format.folder import C3Folder
from vortex.c3.paging.options import PagerOptions
from vortex.c3.paging.pager import Pager
from vortex.c3.torch.quantised_linear import LAYOUT_TAG, QuantisedWeight
from vortex.errors import BackendError

DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}
LAYOUTS = {dtype: layout for layout, dtype in DTYPES.items()}


def as_tensor(data: np.ndarray, layout: str, shape: Sequence[int]) -> torch.Tensor:
    """Over the memory itself: never written to, and freed with it."""
    with warnings.catch_warnings():  # torch has no read-only tensors, and says so
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(data).view(DTYPES[layout]).view(*shape)


class PagedWeights:
    """Leases the units of a folder under a budget. One thread, one unit at a time."""

    def __init__(self, folder: C3Folder, options: PagerOptions, device: torch.device) -> None:
        self.folder, self.options, self.device = folder, options, device
        self._pager: Pager | None = Pager(folder, options)
        self._on_device: dict[str, torch.Tensor] = {}  # pinned units of another device than the CPU
        self._seen: list[str] | None = []  # None: the order is known

    @property
    def pager(self) -> Pager:
        if self._pager is None:
            raise BackendError("the paged weights of this model are closed; attach it again to use it")
        return self._pager

    @property
    def order(self) -> list[str]:
        """Units in the order in which reads run ahead."""
        return list(self.pager.units)

    def learn_order(self) -> None:
        """What was leased so far was no forward: the next one shows the order."""
        self._seen = []

    @contextmanager
    def lease(self, unit: str, dtype: torch.dtype) -> Iterator[torch.Tensor | QuantisedWeight]:
        """The unit's weight on the device, for the time of one product. dtype: of the layer's inputs.

        Raises ModelFileError or StorageError.
        """
        if self._seen is not None:
            self._watch(unit)
        if unit in self._on_device:
            yield self._on_device[unit]
            return
        entry = self.folder.entries[f"{unit}.0"]
        with self.pager.lease(unit) as lease:
            if entry.layout.startswith(LAYOUT_TAG):
                rows, columns = entry.shape
                yield QuantisedWeight(lease.views[entry.name], entry.layout, (rows, columns), dtype)
                return
            weight = as_tensor(lease.views[entry.name], entry.layout, entry.shape)
            if self.device.type != "cpu":
                weight = weight.to(self.device)  # waits for the copy: the lease may end
                self.pager.stats.bytes_h2d += entry.num_bytes
                if lease.lasts:
                    self._on_device[unit] = weight
            yield weight

    def counters(self) -> Mapping[str, float]:
        return self.pager.counters()

    def close(self) -> None:
        self._on_device.clear()
        if self._pager is not None:
            self._pager.close()
        self._pager = None

    def _watch(self, unit: str) -> None:
        """The first unit that comes again ends the first forward: from then on its order is known."""
        assert self._seen is not None, "the order is still being learnt"
        if unit not in self._seen:
            self._seen.append(unit)
            return
        order = used_order(self.order, self._seen)
        self._seen = None
        if order != self.order:
            self.pager.close()
            self._pager = Pager(self.folder, self.options, order=order)


def used_order(registered: Sequence[str], used: Sequence[str]) -> list[str]:
    """Units as a forward used them; one that it left out (a head, for a prompt's chunk) follows its old predecessor."""
    order = list(used)
    known = set(used)
    for index, unit in enumerate(registered):
        if unit not in known:
            order.insert(order.index(registered[index - 1]) + 1 if index else 0, unit)
            known.add(unit)
    return order


@dataclass(frozen=True, slots=True)
class LinearShape:
    """`transposed`: the weight is stored [inputs, outputs] and applied by addmm, as GPT-2's layers are."""

    inputs: int
    outputs: int
    transposed: bool = False


class PagedLinear(torch.nn.Module):  # type: ignore[misc] # torch is not typed
    """Stands for one linear layer. `weight` has its shape and dtype but no bytes; the bias stays resident."""

    def __init__(self, weights: PagedWeights, unit: str, like: torch.Tensor, bias: Any, shape: LinearShape) -> None:
        super().__init__()
        self.unit, self.shape = unit, shape
        self.in_features, self.out_features = shape.inputs, shape.outputs
        self._lease: Callable[[str, torch.dtype], Any] = weights.lease
        self.weight = torch.nn.Parameter(torch.empty_like(like, device="meta"), requires_grad=False)
        self.bias = bias

    def lease(self) -> Any:
        """A context in which the weight's tensor is there."""
        return self._lease(self.unit, self.weight.dtype)

    def product(self, x: torch.Tensor, weight: torch.Tensor | QuantisedWeight) -> torch.Tensor:
        if isinstance(weight, QuantisedWeight):
            y = weight.product(x)
            return y if self.bias is None else y + self.bias
        if not self.shape.transposed:
            return F.linear(x, weight, self.bias)
        flat = torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), weight)
        return flat.view(*x.shape[:-1], self.shape.outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not x.numel():  # nobody wants these rows: no byte is read for them
            return x.new_empty(*x.shape[:-1], self.shape.outputs)
        with self.lease() as weight:
            return self.product(x, weight)

    def extra_repr(self) -> str:
        return f"{self.unit}, in_features={self.in_features}, out_features={self.out_features}, paged"
