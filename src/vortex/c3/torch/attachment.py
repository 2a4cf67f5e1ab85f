"""Any torch model under a memory budget: its linears are replaced by paged ones over a `.c3` folder.

    with vortex.c3.attach(model, "500MB"):
        model.generate(...)

The budget covers the linears: what fits is pinned, the rest is streamed in the order that the first forward shows. The
input embedding is memory-mapped on a CPU; norms, biases and whatever is not a plain linear stay resident. Logits are
those of the resident model in the same dtype, bit for bit. `codec="int8"`, "int4" or "mxfp4" rounds the weights (on a
CPU): other logits, the same ones at every budget. After `close` the model has no linears to compute with.

The weights of a model that is in memory are written to a folder of their own (in the user's cache, gone with `close`),
or to `folder`, which is kept and used again. A model on torch's meta device (too large to be loaded) needs a `folder`
that is there already: `pack_weights` makes one from any source.
"""

from __future__ import annotations

import os
import secrets
import shutil
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import platformdirs
import torch

from vortex.c3.format.folder import C3Folder, C3Writer, aligned
from vortex.c3.format.sizes import parse_bytes
from vortex.c3.paging.options import PagerOptions
from vortex.c3.paging.pager import residency
from vortex.c3.torch.paged_linear import LAYOUTS, LinearShape, PagedLinear, PagedWeights, as_tensor
from vortex.c3.torch.quantised_linear import (
    AUTO,
    FORMATS,
    format_for,
    is_lossless,
    layout_of,
    packed_bytes,
    packed_weight,
)
from vortex.errors import ConfigError, ModelFileError, UnsupportedModel
from vortex.kernels.formats import Format

HEAD, EMBEDDING = "head", "embedding"
ReadParameter = Callable[[str], torch.Tensor]
Progress = Callable[[int, int], None]  # linears done, linears in all


@dataclass(frozen=True, slots=True)
class Site:
    """A linear layer of a model. parameter: the full name of its weight; several sites may share one unit.

    layout, num_bytes: in memory. kind: what the weight is rounded to, if it is.
    """

    name: str
    parameter: str
    unit: str
    shape: LinearShape
    dtype: torch.dtype
    kind: Format | None
    layout: str
    num_bytes: int

    @property
    def packed_shape(self) -> tuple[int, int]:
        """Rounded weights lie [outputs, inputs] whichever way the layer has them."""
        shape = self.shape
        return (shape.inputs, shape.outputs) if shape.transposed and not self.kind else (shape.outputs, shape.inputs)


class Attachment:
    """What pages a model's weights. `close` it, or use it as a context."""

    def __init__(self, weights: PagedWeights, sites: tuple[Site, ...], temporary: Path | None) -> None:
        self.weights, self.sites = weights, sites
        remove = weakref.finalize(self, shutil.rmtree, temporary, ignore_errors=True) if temporary else None
        self._remove_folder = remove

    @property
    def bytes_to_fetch(self) -> int:
        """Read from disk by each forward."""
        return self.weights.pager.bytes_to_fetch

    @property
    def weight_bytes(self) -> int:
        """Of all paged linears, resident or not."""
        return sum({site.unit: site.num_bytes for site in self.sites}.values())

    def counters(self) -> Mapping[str, float]:
        return self.weights.counters()

    def close(self) -> None:
        self.weights.close()
        if self._remove_folder is not None:
            self._remove_folder()

    def __enter__(self) -> Attachment:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


def attach_model(
    model: Any,
    budget: int | str,
    *,
    folder: Path | None = None,
    prefetch_depth: int = 1,
    codec: str = AUTO,
    lock_memory: bool = False,
    disk_memory: Path | None = None,
) -> Attachment:
    """Replace the model's linears, now. budget: bytes, or text like "2.2GB".

    folder: a `.c3` folder that is kept (made if it is not there). codec: auto, raw, lossless, int8, int4, mxfp4.
    Raises ConfigError for a budget too small (with the smallest that works), an unknown codec, or one that rounds on a
    GPU; UnsupportedModel for a model without plain linears, ModelFileError for a folder of another model or codec,
    StorageError where packing fails, MissingCapability where a codec needs the native core and it is not there.
    """
    budget_bytes = parse_bytes(budget) if isinstance(budget, str) else budget
    options = PagerOptions(
        budget_bytes=budget_bytes, prefetch_depth=prefetch_depth, lock_memory=lock_memory, disk_memory=disk_memory
    )
    sites = linear_sites(model, codec)
    if codec in FORMATS and _device_of(model).type != "cpu":
        raise ConfigError(f"the codec {codec} computes on a CPU; choose raw or lossless on a GPU")
    residency(unit_sizes(sites), options)  # a budget too small is told before anything is packed
    path = folder or _own_folder()
    if not path.exists():
        pack_weights(model, path, codec=codec)
    packed = C3Folder(path)
    _check_same(packed, sites)
    weights = PagedWeights(packed, options, _device_of(model))
    _map_embedding(model, packed)
    for site in sites:
        _replace(model, site, weights)
    return Attachment(weights, sites, path if folder is None else None)


def check_budget(model: Any, budget_bytes: int, codec: str = AUTO) -> None:
    """Raises ConfigError, with the smallest that works, for a budget that cannot page the model."""
    residency(unit_sizes(linear_sites(model, codec)), PagerOptions(budget_bytes=budget_bytes))


def pack_weights(
    model: Any,
    path: Path,
    *,
    read: ReadParameter | None = None,
    codec: str = AUTO,
    metadata: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the model's linears and its input embedding to a new `.c3` folder.

    read: gives a parameter by its name, for a model whose own parameters hold no bytes.
    """
    read = read or model.get_parameter
    sites = {site.unit: site for site in linear_sites(model, codec)}
    with C3Writer(path, {"kind": "linears", **(metadata or {})}, compress=is_lossless(codec)) as writer:
        for number, (unit, site) in enumerate(sites.items()):
            _add_linear(writer, f"{unit}.0", read(site.parameter), site)
            if progress is not None:
                progress(number + 1, len(sites))
        embedding = _embedding_name(model)
        head_has_its_bytes = _is_tied(model) and (HEAD not in sites or sites[HEAD].kind is None)
        if embedding is not None and not head_has_its_bytes:
            own = model.get_parameter(f"{embedding}.weight")
            _add(writer, f"{EMBEDDING}.{embedding.replace('.', '/')}", read(f"{embedding}.weight"), own.dtype)


def linear_sites(model: Any, codec: str = AUTO) -> tuple[Site, ...]:
    """Plain linears in the order they were registered, the head last. Raises UnsupportedModel where there is none."""
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    units: dict[int, str] = {}  # by the identity of the weight: layers that share one share its unit
    found = []
    for name, module in model.named_modules():
        shape = _linear_shape(module)
        if shape is None or module.weight.dtype not in LAYOUTS:
            continue
        unit = HEAD if module is head else name.replace(".", "/")
        unit = units.setdefault(id(module.weight), unit)
        weight, kind = module.weight, format_for(codec, shape.inputs)
        if kind is None:
            layout, num_bytes = LAYOUTS[weight.dtype], weight.numel() * weight.element_size()
        else:
            layout, num_bytes = layout_of(kind), packed_bytes(kind, shape.outputs, shape.inputs)
        found.append(Site(name, f"{name}.weight", unit, shape, weight.dtype, kind, layout, num_bytes))
    if not found:
        raise UnsupportedModel(f"{type(model).__name__} has no plain linear layers to page")
    return tuple(sorted(found, key=lambda site: site.unit == HEAD))


def unit_sizes(sites: tuple[Site, ...]) -> dict[str, int]:
    """Bytes in memory by unit, as the pager counts them."""
    return {site.unit: aligned(site.num_bytes) for site in sites}


def _linear_shape(module: Any) -> LinearShape | None:
    if type(module) is torch.nn.Linear:
        return LinearShape(module.in_features, module.out_features)
    if type(module).__name__ == "Conv1D" and type(module).__module__ == "transformers.pytorch_utils":
        return LinearShape(module.nx, module.nf, transposed=True)
    return None


def _add_linear(writer: C3Writer, name: str, weight: torch.Tensor, site: Site) -> None:
    if site.kind is None:
        _add(writer, name, weight, site.dtype)
        return
    weight = weight.detach().to("cpu")
    data = packed_weight(weight.T if site.shape.transposed else weight, site.kind)
    writer.add(name, site.layout, site.packed_shape, data)


def _add(writer: C3Writer, name: str, tensor: torch.Tensor, dtype: torch.dtype) -> None:
    data = tensor.detach().to("cpu", dtype).contiguous()
    writer.add(name, LAYOUTS[dtype], tuple(data.shape), data.view(torch.uint8).numpy())


def _check_same(packed: C3Folder, sites: tuple[Site, ...]) -> None:
    for site in sites:
        entry = packed.entries.get(f"{site.unit}.0")
        if entry is None or entry.shape != site.packed_shape or entry.layout != site.layout:
            raise ModelFileError(
                f"{packed.path} holds the weights of another model, dtype or codec; delete it to pack anew"
            )


def _replace(model: Any, site: Site, weights: PagedWeights) -> None:
    parent = model.get_submodule(site.name.rpartition(".")[0])
    linear = model.get_submodule(site.name)
    paged = PagedLinear(weights, site.unit, linear.weight, linear.bias, site.shape)
    paged.train(linear.training)
    setattr(parent, site.name.rpartition(".")[2], paged)


def _map_embedding(model: Any, packed: C3Folder) -> None:
    """The input embedding over the folder's mapped bytes: rows come by the page cache, which the system may empty."""
    name = _embedding_name(model)
    if name is None or _device_of(model).type != "cpu":
        return
    own = f"{EMBEDDING}.{name.replace('.', '/')}"
    stored = f"{HEAD}.0" if _is_tied(model) and own not in packed else own
    if stored not in packed:
        return
    entry = packed.entries[stored]
    packed.verify(stored)
    mapped = as_tensor(packed.read(stored), entry.layout, entry.shape)
    model.get_submodule(name).weight = torch.nn.Parameter(mapped, requires_grad=False)


def _embedding_name(model: Any) -> str | None:
    """Of the input embedding, where it is a plain one of a dtype that can be stored."""
    embedding = model.get_input_embeddings() if hasattr(model, "get_input_embeddings") else None
    if not isinstance(embedding, torch.nn.Embedding) or embedding.weight.dtype not in LAYOUTS:
        return None
    return next((name for name, module in model.named_modules() if module is embedding), None)


def _is_tied(model: Any) -> bool:
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    return head is not None and head.weight is model.get_input_embeddings().weight


def _device_of(model: Any) -> torch.device:
    """Where the model computes: that of what stays resident."""
    devices = {tensor.device for tensor in _tensors(model) if tensor.device.type != "meta"}
    return next((device for device in devices if device.type != "cpu"), torch.device("cpu"))


def _tensors(model: Any) -> Iterator[torch.Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _own_folder() -> Path:
    home = os.environ.get("VORTEX_HOME")
    cache = Path(home).expanduser() if home else platformdirs.user_cache_path("vortex")
    return cache / "attached" / f"{os.getpid()}-{secrets.token_hex(4)}.c3"
