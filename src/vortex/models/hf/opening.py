"""From a safetensors folder (or a GGUF file) to an HfModel with its tokenizer.

Loads safetensors alone, and no code of a model's folder is ever run. Under a budget the weights go from their files to
a `.c3` folder tensor by tensor, and the model itself is built without them, so a model larger than memory can be
loaded. `int8`, `int4` and `mxfp4` go the same way, all resident where no budget is set. What the backend cannot run
(recurrent states, encoders, code of its own) is refused before a weight is read.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vortex.errors import ConfigError, MissingCapability, ModelFileError, ModelNotFound, UnsupportedModel
from vortex.hub.folder import missing_files
from vortex.machine.installation import add_extra
from vortex.machine.torch_device import set_up_torch, sleep_at_barriers
from vortex.models.opened import LoadOptions, Opened
from vortex.models.weight_source import fingerprint
from vortex.tokenizer.chat_format import TemplateChatFormat
from vortex.tokenizer.house import load_tokenizer

if TYPE_CHECKING:
    import torch

    from vortex.c3.torch.attachment import Attachment
    from vortex.models.hf.model import HfModel

ROUNDED_FORMS = ("int8", "int4", "mxfp4")  # values of model.compute that only the paged linears know
EVERYTHING_BYTES = 1 << 60  # a budget that all weights fit
RECURRENT_LAYERS = {"linear_attention", "mamba", "mamba2", "conv", "recurrent", "rwkv", "gated_delta", "hybrid"}


def require_transformers() -> None:
    """Raises MissingCapability, with the command that helps, where the extra is not installed."""
    missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingCapability(f"the backend hf needs {' and '.join(missing)}, not installed here: {add_extra('hf')}")


def open_hf(source: Path, options: LoadOptions) -> Opened[HfModel]:
    """`source`: a folder with config.json and *.safetensors, or a GGUF file (made into such a folder once).

    Raises MissingCapability, ModelNotFound, ModelFileError, UnsupportedModel, ConfigError, StorageError.
    """
    folder = _folder(source, options)
    model, attachment = open_transformers(folder, options)
    from vortex.models.hf.model import HfModel

    tokenizer = load_tokenizer(folder)
    return Opened(
        name=source.stem,
        path=source,
        model=HfModel(model, attachment=attachment, context_limit=options.context_limit),
        tokenizer=tokenizer,
        chat_format=TemplateChatFormat(tokenizer),
    )


def _folder(source: Path, options: LoadOptions) -> Path:
    require_transformers()
    if not source.exists():
        raise ModelNotFound(f"there is no model at {source}")
    _be_quiet()
    if not source.is_file():
        return source
    from vortex.models.hf.folder import folder_of_gguf

    return folder_of_gguf(source, options.packed_root, fingerprint(source))


def open_transformers(folder: Path, options: LoadOptions) -> tuple[Any, Attachment | None]:
    """The library's model of a safetensors folder, resident, or paged under the options' budget."""
    _be_quiet()
    if missing := missing_files(folder):
        raise ModelFileError(f"the folder {folder} is not a whole model: {', '.join(missing)} missing")
    config = _config_of(folder)
    device = set_up_torch(options.device, options.threads)
    dtype = _dtype(options.form, config, device)
    if options.form in ROUNDED_FORMS and device.type != "cpu":
        raise ConfigError(f"{options.form} in the backend hf computes on a CPU; set model.compute or runtime.device")
    if options.budget_bytes or options.form in ROUNDED_FORMS:
        return _load_paged(folder, config, dtype, device, options)
    return _load_resident(folder, dtype).to(device), None


def _be_quiet() -> None:
    """Our own lines say what happens."""
    sleep_at_barriers()
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def _config_of(folder: Path) -> Any:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (ValueError, KeyError, OSError, TypeError) as error:
        raise UnsupportedModel(f"{folder / 'config.json'}: {_reason(error)}; try a newer transformers") from error
    check_supported(config)
    return config


def check_supported(config: Any) -> None:
    """Raises UnsupportedModel for what cannot be swept with caches of keys and values."""
    from transformers import AutoModelForCausalLM

    kind = getattr(config, "model_type", type(config).__name__)
    if getattr(config, "is_encoder_decoder", False):
        raise UnsupportedModel(f"{kind} is an encoder with a decoder; the backend hf runs causal language models")
    if type(config) not in AutoModelForCausalLM._model_mapping:
        raise UnsupportedModel(f"transformers knows no causal language model for {kind}; a newer version may")
    model_class = AutoModelForCausalLM._model_mapping[type(config)]
    layers = set(getattr(config.get_text_config(), "layer_types", None) or ())
    if getattr(model_class, "_is_stateful", False) or layers & RECURRENT_LAYERS:
        raise UnsupportedModel(
            f"{kind} remembers by a recurrent state, which transformers cannot take back; the backend hf runs models "
            "with caches of keys and values alone"
        )


def _dtype(form: str, config: Any, device: torch.device) -> torch.dtype:
    """`auto`: the checkpoint's own, but float32 on a CPU that does not multiply bfloat16."""
    import torch

    if form not in {"auto", *ROUNDED_FORMS}:
        return torch.bfloat16 if form == "bf16" else torch.float32
    own = getattr(config, "dtype", None) or getattr(config.get_text_config(), "dtype", None)
    own = getattr(torch, own, None) if isinstance(own, str) else own
    if own not in {torch.bfloat16, torch.float16}:
        return torch.float32
    if device.type != "cpu":
        return own
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32


def _load_resident(folder: Path, dtype: torch.dtype) -> Any:
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, local_files_only=True
        )
    except SafetensorError as error:
        raise ModelFileError(f"{folder} has a damaged safetensors file ({error}); fetch it again") from error
    except (ValueError, KeyError, OSError, TypeError, ImportError, RuntimeError) as error:
        raise UnsupportedModel(f"transformers cannot load {folder}: {_reason(error)}") from error


def _load_paged(
    folder: Path, config: Any, dtype: torch.dtype, device: torch.device, options: LoadOptions
) -> tuple[Any, Any]:
    """Without ever holding all weights, where the files name them as the model does; else through memory, once."""
    from vortex.c3.torch.attachment import attach_model, check_budget, pack_weights
    from vortex.c3.torch.paged_linear import LAYOUTS

    budget_bytes = options.budget_bytes or EVERYTHING_BYTES
    exact = {None: "auto", True: "lossless", False: "raw"}[options.compress]
    codec = options.form if options.form in ROUNDED_FORMS else exact
    tag = f"{LAYOUTS[dtype]}-{codec}" if codec in ROUNDED_FORMS else LAYOUTS[dtype]
    path = options.packed_root / f"{folder.name}-{fingerprint(folder)}.linears-{tag}.c3"
    model = _skeleton(config, dtype)
    files = SafetensorsFiles(folder)
    named = all(files.has(name) for name in _own_names(model))
    keeps_float32 = any(getattr(model, f"_keep_in_fp32_modules{end}", None) for end in ("", "_strict"))
    if not named or keeps_float32:
        model = _load_resident(folder, dtype)
    elif not path.exists():
        tied = _tied_names(model)
        check_budget(model, budget_bytes, codec)  # a budget too small is told before anything is packed
        pack_weights(
            model,
            path,
            read=lambda name: files.read(tied.get(name, name)),
            codec=codec,
            progress=options.progress,
        )
    if device.type != "cpu":
        _fill(model, files, dtype, device)
    attachment = attach_model(
        model,
        budget_bytes,
        folder=path,
        prefetch_depth=options.prefetch_depth,
        codec=codec,
        lock_memory=options.lock_memory,
        disk_memory=options.packed_root / "disks.json",
    )
    _fill(model, files, dtype, device)
    return model, attachment


def _skeleton(config: Any, dtype: torch.dtype) -> Any:
    """The model with all its modules and buffers; its parameters hold no bytes."""
    from transformers import AutoModelForCausalLM

    with _parameters_without_bytes():
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    model.tie_weights()
    return model.eval()


@contextmanager
def _parameters_without_bytes() -> Iterator[None]:
    """Parameters that are registered meanwhile go to torch's meta device; buffers, which are computed, stay real."""
    import torch

    register = torch.nn.Module.register_parameter

    def registered(module: Any, name: str, parameter: Any) -> None:
        register(module, name, parameter)
        if parameter is not None:
            module._parameters[name] = torch.nn.Parameter(parameter.to("meta"), requires_grad=False)

    torch.nn.Module.register_parameter = registered
    try:
        yield
    finally:
        torch.nn.Module.register_parameter = register


def _own_names(model: Any) -> list[str]:
    """Parameters and stored buffers, each once: what is tied goes by its first name."""
    parameters = [name for name, _ in model.named_parameters()]
    stored = set(model.state_dict())
    return parameters + [name for name, _ in model.named_buffers() if name in stored]


def _tied_names(model: Any) -> dict[str, str]:
    """Every further name of a tied parameter, by its first one."""
    first: dict[int, str] = {}
    every = model.named_parameters(remove_duplicate=False)
    return {name: first[id(value)] for name, value in every if first.setdefault(id(value), name) != name}


def _fill(model: Any, files: SafetensorsFiles, dtype: torch.dtype, device: torch.device) -> None:
    """Bytes for every parameter that has none and is not paged; everything to the device."""
    import torch

    from vortex.c3.torch.attachment import linear_sites
    from vortex.c3.torch.paged_linear import PagedLinear

    to_page = {site.name for site in linear_sites(model)} if not _is_paged(model) else set()
    for module_name, module in model.named_modules():
        for name, parameter in list(module._parameters.items()):
            full = f"{module_name}.{name}" if module_name else name
            paged = name == "weight" and (isinstance(module, PagedLinear) or module_name in to_page)
            if parameter is None or paged:
                continue
            if parameter.device.type == "meta":
                parameter = files.read(full).to(dtype)
            module._parameters[name] = torch.nn.Parameter(parameter.to(device), requires_grad=False)
        for name, buffer in list(module._buffers.items()):
            full = f"{module_name}.{name}" if module_name else name
            if buffer is not None:
                module._buffers[name] = (files.read(full) if files.has(full) else buffer).to(device)


def _is_paged(model: Any) -> bool:
    from vortex.c3.torch.paged_linear import PagedLinear

    return any(isinstance(module, PagedLinear) for module in model.modules())


class SafetensorsFiles:
    """The tensors of a folder's safetensors files by name; memory-mapped, so only what is read is there."""

    def __init__(self, folder: Path) -> None:
        from safetensors import SafetensorError, safe_open

        self._file_of: dict[str, Any] = {}
        for path in sorted(folder.glob("*.safetensors")):
            try:
                file = safe_open(path, framework="pt")
            except (SafetensorError, OSError) as error:
                raise ModelFileError(f"{path} is no whole safetensors file ({error}); fetch it again") from error
            self._file_of.update(dict.fromkeys(list(file.keys()), file))  # type: ignore[no-untyped-call]

    def has(self, name: str) -> bool:
        return name in self._file_of

    def read(self, name: str) -> torch.Tensor:
        return self._file_of[name].get_tensor(name)


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
