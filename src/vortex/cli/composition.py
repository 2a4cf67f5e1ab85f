"""The only place that picks concrete classes: from settings to something that answers.

Heavy parts are imported when they are opened, so that a command which needs no model starts at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vortex.config.loading import LoadedSettings, SettingsSources, load_settings
from vortex.config.retired import RETIRED
from vortex.errors import DownloadError, ModelNotFound, RequestError
from vortex.protocols import ChatBackend, LanguageModel, Tokenizer

if TYPE_CHECKING:
    from vortex.config.schema import Settings
    from vortex.decode.drafting.drafter import Drafter
    from vortex.engine.intake import RestrictionFactory
    from vortex.engine.options import EngineOptions
    from vortex.engine.prompt_store import PromptStoreOptions
    from vortex.hub.cache import ResolvedModel
    from vortex.models.cores import CoreOptions
    from vortex.models.opened import LoadOptions, Opened, PackProgress


def settings_for(
    profile: str | None = None, assignments: Sequence[str] | None = None, flags: Mapping[str, object] | None = None
) -> LoadedSettings:
    """Settings of this run; says which settings of the working folder's file were refused. Raises ConfigError."""
    from vortex.cli.terminal import warn

    loaded = load_settings(SettingsSources(profile=profile, assignments=assignments or (), flags=flags or {}))
    for entry in loaded.ignored:
        warn(
            f"{entry.origin}: '{entry.key}' is not read from the working folder; "
            "put it into your own settings file (`vortex config path`) or on the command line"
        )
    for entry in loaded.retired:
        warn(f"{entry.origin}: '{entry.key}' is gone ({RETIRED[entry.key]}); remove it")
    return loaded


def with_manners(loaded: LoadedSettings) -> tuple[LoadedSettings, str]:
    """The settings with the model's own sampling where nobody on this machine chose any, and its system message.

    Fetches the model if it is not here: whoever asks is about to open it. Raises as `resolve_model`.
    """
    from dataclasses import replace

    from vortex.hub.manners import manners_of

    if loaded.settings.model.backend not in {"local", "hf"}:
        return loaded, ""
    manners = manners_of(resolve_model(loaded))
    own = {name: value for name, value in manners.sampling.items() if loaded.is_built_in(f"decode.{name}")}
    decode = loaded.settings.decode.model_copy(update=own)
    origins = {**loaded.origins, **{f"decode.{name}": "the model's own" for name in own}}
    settings = loaded.settings.model_copy(update={"decode": decode})
    return replace(loaded, settings=settings, origins=origins), manners.system


def missing_gpu(loaded: LoadedSettings) -> str | None:
    """Why this machine cannot run the profile's own model, in words; None where it can."""
    from vortex.machine.gpu import find_gpus

    settings = loaded.settings
    if not settings.model.gpu_memory_gb or not loaded.is_profiles_own("model.name"):
        return None
    wanted = f"{settings.model.name} wants a GPU with {settings.model.gpu_memory_gb:g} GB"
    if settings.runtime.device == "cpu":
        return f"{wanted} and runtime.device is cpu"
    gpus = find_gpus()
    if not gpus:
        return f"{wanted} and this machine has none"
    largest = max(gpus, key=lambda gpu: gpu.memory_bytes)
    if largest.memory_bytes < settings.model.gpu_memory_gb * 1e9:
        return f"{wanted} and {largest.name} has {largest.memory_bytes / 1e9:.0f} GB"
    return None


def missing_extra(loaded: LoadedSettings) -> str | None:
    """Why this installation cannot run the settings' backend, in words; None where it can."""
    from vortex.errors import MissingCapability

    if loaded.settings.model.backend != "hf":
        return None
    from vortex.models.hf.opening import require_transformers

    try:
        require_transformers()
    except MissingCapability as error:
        return str(error)
    return None


def resolve_model(loaded: LoadedSettings) -> ResolvedModel:
    """Files of the model the settings name, fetched if needed; the profile's fallback where its own cannot be had.

    A model that the user named is never replaced. Raises ModelNotFound, DownloadError, ModelFileError.
    """
    from vortex.cli.download import download_progress
    from vortex.cli.terminal import warn
    from vortex.hub.names import resolve

    settings = loaded.settings
    fallback = settings.model.fallback if loaded.is_profiles_own("model.name") else None
    with download_progress() as sink:

        def find(name: str) -> ResolvedModel:
            return resolve(name, progress=sink, allow_download=not settings.runtime.offline)

        if fallback is None:
            return find(settings.model.name)
        reason = missing_gpu(loaded) or missing_extra(loaded)
        if reason is None:
            try:
                return find(settings.model.name)
            except (DownloadError, ModelNotFound) as error:
                reason = str(error)
        warn(f"profile {loaded.profile}: {reason}; {fallback} answers instead")
        return find(fallback)


def open_model(loaded: LoadedSettings) -> Opened[LanguageModel]:
    """The model the settings name, loaded into this process. Raises VortexError."""
    if loaded.settings.model.backend == "hash":
        from vortex.models.opening import open_hash

        return open_hash()
    from vortex.cli.packing_progress import PackingProgress
    from vortex.cli.terminal import working
    from vortex.errors import MissingCapability
    from vortex.hub.cache import ModelCache

    settings = loaded.settings.model
    if settings.fallback is None and (reason := missing_extra(loaded)):
        raise MissingCapability(reason)
    resolved = resolve_model(loaded)
    fell_back = resolved.name == settings.fallback and loaded.is_profiles_own("model.backend")
    by_transformers = settings.backend == "hf" and not fell_back  # a profile's fallback runs as it does everywhere
    how = " by transformers (a GGUF file is unpacked once)" if by_transformers else ""
    with working(f"loading {resolved.name}{how}", lines_every_s=5.0) as say:
        packing = PackingProgress(resolved.name, resolved.made_folder, say)
        opened = _load(resolved, loaded, packing, by_transformers=by_transformers)
    ModelCache().note_source(resolved)
    return opened


def open_backend(
    loaded: LoadedSettings, system: str = "", *, keep_prompts: bool = False, serves: bool = False
) -> ChatBackend:
    """What answers requests, as the settings ask. Close it after use. Raises VortexError.

    keep_prompts: what was swept of prompts outlives the process, as far as the settings let it.
    serves: others will ask, and some of them for a schema: what that needs is made ready meanwhile.
    """
    settings = loaded.settings
    if settings.model.backend == "fake":
        from vortex.backends.fake import FakeBackend

        return FakeBackend()
    if settings.model.backend == "http":
        from vortex.backends.http import HttpBackend

        return HttpBackend(settings.model.base_url, api_key=settings.server.api_token or None)
    return local_backend(open_model(loaded), loaded, system, keep_prompts=keep_prompts, serves=serves)


def local_backend(
    opened: Opened[LanguageModel],
    loaded: LoadedSettings,
    system: str = "",
    *,
    keep_prompts: bool = False,
    serves: bool = False,
) -> ChatBackend:
    """The engine around a loaded model, with the settings' limits. It owns the model from then on.

    system: what the model is told where a conversation says nothing itself.
    """
    from vortex.decode.forms.families import form_of
    from vortex.decode.structure.structured import StructuredDecoding
    from vortex.engine.backend import LocalBackend
    from vortex.engine.intake import AnswerRules
    from vortex.tokenizer.chat_format import TemplateChatFormat
    from vortex.tokenizer.default_system import WithSystem
    from vortex.types import ModelCard

    settings = loaded.settings
    options = _engine_options(opened, loaded, keep_prompts=keep_prompts)
    from vortex.cli.adapter_shelf import shelf_for

    form = form_of(opened.chat_format.sources if isinstance(opened.chat_format, TemplateChatFormat) else ())
    abilities = ("completion", "tools", *(("thinking",) if form.thinks else ()))
    card = ModelCard(name=opened.name, licence=opened.licence, origin=opened.origin, abilities=abilities)
    structured = StructuredDecoding(opened.tokenizer, form)
    if serves:
        structured.warm_up()
    return LocalBackend(
        opened.model,
        opened.tokenizer,
        WithSystem(opened.chat_format, system) if system else opened.chat_format,
        card,
        options,
        rules=AnswerRules(
            constrain=structured.constrain,
            read_answer=structured.read_answer,
            restrict=_restrictions(settings, opened.tokenizer),
            marks=form.marks,
        ),
        adapters=shelf_for(opened, loaded),
    )


def _engine_options(opened: Opened[LanguageModel], loaded: LoadedSettings, *, keep_prompts: bool) -> EngineOptions:
    from vortex.engine.options import EngineOptions

    settings = loaded.settings
    return EngineOptions(
        max_slots=settings.runtime.max_active,
        queue_limit=settings.runtime.max_queued,
        prefix_cache_bytes=settings.runtime.prefix_cache_mb << 20,
        prompt_store=_prompt_store(opened, settings) if keep_prompts else None,
        default_max_tokens=settings.decode.max_new_tokens,
        context_tokens=settings.kv.window_size,
        entropy_top_k=settings.bad.entropy_top_k,
        max_block=settings.bad.max_block,
        drafters=drafters_for(loaded, opened),
        drafts_always=settings.bad.any_rounding,
        end_loops=settings.decode.end_loops,
    )


def _prompt_store(opened: Opened[LanguageModel], settings: Settings) -> PromptStoreOptions | None:
    from vortex.engine.prompt_store import PromptStoreOptions
    from vortex.hub.cache import cache_home

    budget_bytes = settings.runtime.prompt_cache_disk_mb * 10**6
    if opened.identity is None or not budget_bytes or not settings.runtime.prefix_cache_mb:
        return None
    return PromptStoreOptions(cache_home() / "prompts", budget_bytes, opened.identity)


def _restrictions(settings: Settings, tokenizer: Tokenizer) -> RestrictionFactory | None:
    """Rules about bytes that the settings put on every answer."""
    from vortex.decode.structure.byte_rules import Both, ByteVocabulary, ExactQuotes, WholeCharacters

    vocabulary = ByteVocabulary(tokenizer)
    whole, exact = settings.decode.escape_restrict, settings.decode.exact_copy_mode == "quotes"
    if whole and exact:
        return lambda prompt_ids: Both(WholeCharacters(vocabulary), ExactQuotes(vocabulary, prompt_ids))
    if whole:
        return lambda _: WholeCharacters(vocabulary)
    if exact:
        return lambda prompt_ids: ExactQuotes(vocabulary, prompt_ids)
    return None


def drafters_for(loaded: LoadedSettings, opened: Opened[LanguageModel]) -> tuple[Drafter, ...]:
    """Who guesses ahead, as the settings ask: the model's further heads where it has some, lookups, a small model."""
    from vortex.decode.drafting.head_drafter import HeadDrafter
    from vortex.decode.drafting.suffix_drafter import HistoryDrafter, SuffixDrafter

    bad = loaded.settings.bad
    if not bad.enabled:
        return ()
    heads = (HeadDrafter(),) if opened.model.draft_heads else ()
    history = (HistoryDrafter(bad.history_tokens),) if bad.history_tokens else ()
    small = (_draft_model(bad.draft_model, loaded, opened),) if bad.draft_model else ()
    return (*heads, SuffixDrafter(), *history, *small)


def _draft_model(name: str, loaded: LoadedSettings, opened: Opened[LanguageModel]) -> Drafter:
    """Another model, all in memory, that guesses. Raises RequestError where its tokens are not the model's."""
    from dataclasses import replace

    from vortex.decode.drafting.model_drafter import ModelDrafter

    settings = loaded.settings
    changes = {
        "model": settings.model.model_copy(update={"name": name}),
        "runtime": settings.runtime.model_copy(update={"cache_vram_budget_mb": 0}),
    }
    small = open_model(replace(loaded, settings=settings.model_copy(update=changes)))
    size = opened.tokenizer.vocab_size
    samples = range(0, size, max(size // 64, 1))
    if small.tokenizer.vocab_size != size or any(
        small.tokenizer.token_bytes(i) != opened.tokenizer.token_bytes(i) for i in samples
    ):
        raise RequestError(f"bad.draft_model {name} has other tokens than {opened.name}; choose one of the same family")
    return ModelDrafter(small.model)


def load_options(resolved: ResolvedModel, loaded: LoadedSettings, *, compress: bool | None = None) -> LoadOptions:
    """How the settings want a model loaded. `compress`: where it must be packed first."""
    from vortex.models.opened import LoadOptions

    settings = loaded.settings
    return LoadOptions(
        packed_root=resolved.made_folder,
        form=settings.model.compute,
        device=settings.runtime.device,
        threads=settings.runtime.threads,
        context_limit=settings.kv.window_size,
        kv_bits=settings.kv.kv_quant_bits,
        budget_bytes=settings.runtime.cache_vram_budget_mb * 10**6,
        prefetch_depth=settings.c3.prefetch_depth,
        compress=compress,
        lock_memory=settings.c3.pinned_memory,
        host_cache_bytes=settings.c3.host_cache_mb * 10**6,
    )


def _load(
    resolved: ResolvedModel, loaded: LoadedSettings, progress: PackProgress, *, by_transformers: bool
) -> Opened[LanguageModel]:
    from dataclasses import replace

    from vortex.cli.terminal import warn
    from vortex.kernels import dispatch
    from vortex.models.opening import open_resolved
    from vortex.vblocks.checkpoint import is_core

    options, core = replace(load_options(resolved, loaded), progress=progress), None
    if not by_transformers and is_core(resolved.path):
        core = core_options(loaded.settings)
    elif not by_transformers and options.device != "cuda" and not dispatch.usable():
        warn("the native core is not in use, so answers are slow; `vortex doctor` says why")
    opened = open_resolved(resolved, options, core, by_transformers=by_transformers)
    if by_transformers:
        _tell_transformers(opened)
    elif options.budget_bytes:
        _tell_paging(opened.model)
    return opened


def core_options(settings: Settings) -> CoreOptions:
    """What the settings change in a core as it was trained."""
    from vortex.models.cores import CoreOptions

    lava = settings.vortex_model.model_dump(exclude={"lava_state_path"})
    depth = {f"depth_{name}": value for name, value in settings.depth_gating.model_dump().items()}
    changes = {"mtp_k": settings.core.mtp_k, **lava, **depth}
    state_path = settings.vortex_model.lava_state_path
    return CoreOptions(
        changes={name: value for name, value in changes.items() if value is not None},
        state_path=Path(state_path).expanduser() if state_path else None,
    )


def _tell_transformers(opened: Opened[LanguageModel]) -> None:
    """What running by the library means for this model, before it is used."""
    from vortex.c3.format.sizes import spell_bytes
    from vortex.cli.terminal import notice
    from vortex.models.hf.model import HfModel
    from vortex.types import Exactness

    if opened.model.exactness is Exactness.DISTRIBUTION:
        notice(f"{opened.name}: an answer may depend, by rounding, on what else is being served")
    attachment = opened.model.attachment if isinstance(opened.model, HfModel) else None
    if attachment:
        notice(
            f"weights: {spell_bytes(int(attachment.counters()['resident_bytes']))} in memory, "
            f"{spell_bytes(attachment.bytes_to_fetch)} read per sweep; on top: KV cache, what is no linear layer, and "
            "the process itself"
        )


def _tell_paging(model: LanguageModel) -> None:
    """What a budget means for this model, before it is used; a core has no KV cache to tell of."""
    from vortex.c3.format.sizes import spell_bytes
    from vortex.cli.terminal import notice
    from vortex.models.decoder.model import Decoder

    if not isinstance(model, Decoder):
        return
    cache = model.compute.new_cache()
    cache.reserve(min(1024, model.context_length))
    notice(
        f"weights: {spell_bytes(int(model.counters().get('resident_bytes', 0)))} in memory, "
        f"{spell_bytes(model.compute.bytes_to_fetch)} read per sweep; on top: KV cache, "
        f"{spell_bytes(cache.resident_bytes)} per 1,024 tokens, and the process itself"
    )
    cache.close()
