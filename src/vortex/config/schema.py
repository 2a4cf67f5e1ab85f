"""Every setting there is, with its type, its default and one line of what it does.

Only settings that some part reads live here; a part that lands brings its section. Profiles and files may set any of
them, except that a setting marked `LoosensSecurity` is never taken from the working folder's file: that folder may be
a repository somebody else wrote. This is the only table of settings: profiles hold what they change, and the table of
docs/configuration.md is written from here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class LoosensSecurity:
    """Marks a setting that widens what others can reach or where prompts go."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, protected_namespaces=())


class ModelSettings(Section):
    """Which model answers."""

    name: str = Field(
        default="smollm2-135m", description="Known name, Hugging Face repo, GGUF file or safetensors folder."
    )
    fallback: str | None = Field(
        default=None, description="Model used, with a notice, where the profile's own cannot be had."
    )
    gpu_memory_gb: float = Field(default=0.0, ge=0, description="GPU memory the profile's model needs; 0: none.")
    backend: Literal["local", "hf", "http", "hash", "fake"] = Field(
        default="local",
        description="local: in this process; hf: here, by transformers; http: a running server; hash, fake: for tests.",
    )
    compute: Literal["auto", "int4", "int8", "mxfp4", "bf16", "float32"] = Field(
        default="auto",
        description="Form weights take in memory; auto keeps each tensor as close to its file as is fast.",
    )
    base_url: Annotated[str, LoosensSecurity()] = Field(
        default="http://127.0.0.1:8000", description="Server that the http backend talks to, without /v1."
    )


class RuntimeSettings(Section):
    """How the machine is used."""

    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: a GPU where there is one.")
    threads: int = Field(default=0, ge=0, le=1024, description="Compute threads; 0: one per core this process may use.")
    offline: Annotated[bool, LoosensSecurity()] = Field(
        default=False, description="Never use the network; models must already be here."
    )
    max_active: int = Field(default=8, ge=1, le=1024, description="Requests that are swept together.")
    max_queued: int = Field(default=64, ge=0, description="Requests that may wait; more are refused.")
    prefix_cache_mb: int = Field(default=256, ge=0, description="Memory for prompt beginnings that requests share.")
    prompt_cache_disk_mb: int = Field(
        default=2048, ge=0, description="Disk for prompt beginnings that outlive the process; 0: none are written."
    )
    cache_vram_budget_mb: int = Field(
        default=0, ge=0, description="Megabytes (10^6) for weights, the rest is paged from disk; 0: all in memory."
    )


class C3Settings(Section):
    """Paged weights, where a budget is set."""

    prefetch_depth: int = Field(default=1, ge=1, le=64, description="Layers read ahead of the one in use.")
    pinned_memory: bool = Field(default=False, description="Lock weight memory, so that it is never swapped out.")
    host_cache_mb: int = Field(
        default=0, ge=0, description="On a GPU: megabytes (10^6) of weights kept in ordinary memory before the disk."
    )


class DecodeSettings(Section):
    """How tokens are chosen when a request does not say."""

    max_new_tokens: int = Field(default=1024, ge=1, description="Most tokens of one answer.")
    temperature: float = Field(default=0.0, ge=0, le=2, description="0: always the likeliest token.")
    top_k: int = Field(default=0, ge=0, description="0: no limit.")
    top_p: float = Field(default=1.0, gt=0, le=1, description="Share of probability that nucleus sampling keeps.")
    min_p: float = Field(
        default=0.0, ge=0, le=1, description="Drop tokens below this share of the likeliest one's probability."
    )
    repetition_penalty: float = Field(default=1.0, gt=0, description="1: none.")
    penalty_reads_prompt: bool = Field(
        default=True, description="Penalties look at the prompt too; off: at the answer alone."
    )
    end_loops: bool = Field(default=True, description="End an answer that repeats itself for ever, and say so.")
    exact_copy_mode: Literal["off", "quotes"] = Field(
        default="off", description="quotes: what an answer quotes is copied from the prompt, byte by byte."
    )
    escape_restrict: bool = Field(
        default=False, description="Single bytes (Vortex-Tok's ESC) only where the answer stays valid UTF-8."
    )


class BadSettings(Section):
    """Several tokens from one sweep (BAD), and the limits of sampling that it shares."""

    enabled: bool = Field(default=True, description="Guess tokens ahead; the answer is the same, and sooner there.")
    max_block: int = Field(default=32, ge=1, le=64, description="Most tokens of one answer in a sweep; 1: no guesses.")
    history_tokens: int = Field(
        default=65536, ge=0, description="Tokens of ended answers that guesses may come from; 0: none (docs/bad.md)."
    )
    draft_model: str | None = Field(
        default=None, description="A small model of the same family that guesses too; none: lookups alone."
    )
    any_rounding: bool = Field(
        default=False,
        description="Guess on devices too whose rounding depends on a block's width: answers may then differ.",
    )
    entropy_top_k: int = Field(
        default=20, ge=0, description="Likeliest tokens that a token's entropy is taken over; 0: do not measure it."
    )
    penalty_window: int = Field(default=64, ge=0, description="Last tokens that penalties look at; 0: all of them.")
    top_p_min_k: int = Field(default=1, ge=1, description="Nucleus sampling keeps at least this many candidates.")
    top_p_max_k: int = Field(default=0, ge=0, description="... and at most this many; 0: no limit.")


class AdapterSettings(Section):
    """LoRA adapters beside the model."""

    name: Annotated[str | None, LoosensSecurity()] = Field(
        default=None,
        description="Adapter that answers where a request names none: a name or a folder; none: what was promoted.",
    )
    budget_mb: int = Field(default=512, ge=1, description="Megabytes (10^6) for adapters; idle ones make room.")


class KvSettings(Section):
    """What a sequence may remember."""

    window_size: int = Field(
        default=0, ge=0, description="Most tokens of one conversation; 0: the model's own context."
    )
    kv_quant_bits: Literal[8, 16] = Field(
        default=16, description="Bits of a remembered number; 8 halves the KV cache (native core on a CPU only)."
    )


class ChatSettings(Section):
    """`vortex chat`."""

    system: str = Field(
        default="You are a helpful assistant who answers clearly and briefly.",
        description="System message put before every conversation of `vortex chat`; empty: the model's own.",
    )


class ServerSettings(Section):
    """`vortex serve`."""

    host: Annotated[str, LoosensSecurity()] = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="0: any free port.")
    api_token: Annotated[str, LoosensSecurity()] = Field(
        default="", repr=False, description="Token that clients must send; KLIMEAI_API_TOKEN sets it too."
    )
    several_models: bool = Field(
        default=True, description="Requests may name any model on this machine; it is opened when first asked for."
    )
    models_memory_mb: int = Field(
        default=0, ge=0, description="Megabytes (10^6) for the weights of all open models; 0: 70% of what is free."
    )
    model_ttl_s: float = Field(default=0.0, ge=0, description="Idle seconds after which a model is closed; 0: never.")


class RagSettings(Section):
    """What was looked up, beside the question (`vortex knowledge`, docs/knowledge.md)."""

    enabled: bool = Field(default=False, description="`vortex serve` looks every question up and quotes what it finds.")
    top_k: int = Field(default=4, ge=1, le=50, description="Most passages that an answer is given.")
    max_chars: int = Field(default=4000, ge=100, le=200_000, description="Most characters of them together.")
    similarity: float = Field(
        default=0.40, ge=-1, le=1, description="Nearness of meaning (cosine) from which a passage counts."
    )
    coverage: float = Field(
        default=0.65, ge=0, le=1, description="Or this share of the question's telling words, and half that nearness."
    )
    embedder: str = Field(
        default="all-minilm-l6-v2", description="Model that finds by meaning; none: words alone. Fetched when needed."
    )
    embedder_url: Annotated[str, LoosensSecurity()] = Field(
        default="", description="Server whose model `rag.embedder` it is (/v1/embeddings); passages are sent there."
    )
    max_file_mb: int = Field(default=50, ge=1, le=2000, description="Larger files are left out.")


class VortexTokSettings(Section):
    """Vocabularies that `vortex tokenizer-train` makes."""

    vocab_size: int = Field(default=16384, ge=327, le=1 << 20, description="All ids: bytes, pieces, special tokens.")
    parse: Literal["fewest", "unigram", "greedy"] = Field(
        default="unigram", description="How text is cut: the fewest codes, the likeliest ones, or the longest first."
    )


class TrainCoreSettings(Section):
    """`vortex train-core`."""

    size: str = Field(default="small", description="tiny, small, deep, shipped, medium or large.")
    window_tokens: int = Field(default=256, ge=4, description="Tokens of one row; nothing is remembered between rows.")
    batch_tokens: int = Field(default=4096, ge=4, description="Tokens of one step.")
    learning_rate: float = Field(default=3e-3, gt=0, description="Its peak; gates: 3 times, depth gates: 0.3 times.")
    weight_decay: float = Field(default=0.1, ge=0, description="Of matrices; gates and norms have none.")
    schedule: Literal["cosine", "wsd"] = Field(
        default="cosine", description="cosine: falls all the way; wsd: stays, and falls in the last fifth."
    )
    precision: Literal["auto", "float32", "bf16"] = Field(
        default="auto", description="auto: bf16 with autocast on a GPU, else float32."
    )
    save_every: int = Field(default=200, ge=1, description="Steps between two states that a kill leaves whole.")
    mtp_k: int = Field(default=2, ge=0, le=8, description="Heads that predict tokens beyond the next.")
    depth_gating: bool = Field(default=False, description="Learn which layers a token may skip.")
    depth_target: float = Field(default=0.7, gt=0, le=1, description="Share of the gated layers that a token takes.")
    gated_from: int = Field(default=1, ge=0, description="First layer with a depth gate.")
    gated_period: int = Field(default=1, ge=1, description="From there on every so-manieth layer has one.")


class CoreSettings(Section):
    """A V-Blocks core's extras. An empty value means: as the core was trained."""

    mtp_k: int | None = Field(default=None, ge=0, le=8, description="Heads that guess ahead; 0: none.")
    compile_step: bool = Field(default=False, description="torch.compile of every layer, in training (experimental).")
    compile_local_mixer_step: bool = Field(
        default=False, description="torch.compile of the local mixers alone, in training (experimental)."
    )


class VortexModelSettings(Section):
    """LAVA, a core's bounded memory. An empty value means: as the core was trained."""

    lava_clusters: int | None = Field(default=None, ge=0, description="Clusters of slots, coarse to fine; 0: exact.")
    lava_cluster_top: int | None = Field(default=None, ge=1, description="Clusters that a read looks into.")
    lava_top_k: int | None = Field(default=None, ge=0, description="Slots of a read; 0: all.")
    lava_read_every: int | None = Field(default=None, ge=1, description="Tokens per read; between, the last is kept.")
    lava_write_every: int | None = Field(default=None, ge=1, description="Tokens of a chunk, after which is written.")
    lava_write_on_surprise: bool | None = Field(
        default=None, description="Write only what surprises more than the core's threshold."
    )
    lava_state_path: Annotated[str, LoosensSecurity()] = Field(
        default="", description="File that keeps the memory between sessions; empty: none."
    )


class DepthGatingSettings(Section):
    """Layers that tokens may skip, in cores with a depth gate. An empty value means: as the core was trained."""

    min: int | None = Field(default=None, ge=0, description="First layers that every token takes.")
    max: int | None = Field(default=None, ge=0, description="Most layers of a token; 0: no limit.")
    hysteresis: float | None = Field(
        default=None, ge=0, lt=0.5, description="How far a score must pass the middle to turn the gate."
    )


def _split(value: object) -> object:
    """One text with commas, as the command line and the environment give it, is a list."""
    return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value


class WebSettings(Section):
    """The web, for the agent's tools and for learning. Nothing is fetched unless it is switched on here."""

    enabled: Annotated[bool, LoosensSecurity()] = Field(default=False, description="Tools may open web pages.")
    allow_domains: Annotated[tuple[str, ...], BeforeValidator(_split), LoosensSecurity()] = Field(
        default=(), description="Domains that may be reached, their sub-domains included; no other is."
    )
    max_bytes: Annotated[int, LoosensSecurity()] = Field(
        default=2_000_000, ge=1, description="Largest answer that is read."
    )
    timeout_s: float = Field(default=20.0, gt=0, le=300, description="Longest time for a page, redirects included.")
    requests_per_minute: Annotated[int, LoosensSecurity()] = Field(
        default=20, ge=1, le=600, description="Most requests to one domain."
    )
    cache_hours: float = Field(default=24.0, ge=0, description="How long a fetched page is good; 0: no cache.")
    search_page: Annotated[str, LoosensSecurity()] = Field(
        default="https://html.duckduckgo.com/html/?q=",
        description="Page that web_search asks, the words behind it; its domain must be allowed.",
    )


class McpServerSettings(Section):
    """One MCP server whose tools the agent may use."""

    name: str = Field(description="Short name; its tools are called NAME_TOOL.")
    command: tuple[str, ...] = Field(default=(), description="Program to start (stdio), inside the sandbox.")
    url: str = Field(default="", description="Or the address of a running server (streamable HTTP).")
    token_variable: str = Field(default="", description="Environment variable with the token that a url wants.")
    read: tuple[str, ...] = Field(default=(), description="Paths that the program may also read.")
    permission: Literal["allow", "ask", "block"] = Field(default="ask", description="For tools not named below.")
    tools: dict[str, Literal["allow", "ask", "block"]] = Field(default={}, description="Permission by tool.")


class ToolsSettings(Section):
    """What the agent's tools may do beyond the working folder."""

    web: WebSettings = WebSettings()
    permissions: Annotated[tuple[str, ...], BeforeValidator(_split), LoosensSecurity()] = Field(
        default=(), description="allow, ask or block by tool or effect: web_open=ask, command=block."
    )
    mcp: Annotated[tuple[McpServerSettings, ...], LoosensSecurity()] = Field(
        default=(), description="MCP servers: name, command or url, permission."
    )


class SanitizeSettings(Section):
    """What of a web page may reach a model or a data set."""

    max_chars: int = Field(default=2000, ge=1, description="Longest text kept of a page.")
    max_instruction_density: float = Field(
        default=0.04,
        ge=0,
        le=1,
        description="Share of words that give orders to a model above which a page is refused.",
    )
    max_repeat_lines: int = Field(default=2, ge=1, description="How often one line may occur.")


class IngestWebSettings(Section):
    """Which pages become rows, and how seldom."""

    urls: Annotated[tuple[str, ...], BeforeValidator(_split), LoosensSecurity()] = Field(
        default=(), description="Pages to begin with; none: the front page of each allowed domain."
    )
    max_depth: Annotated[int, LoosensSecurity()] = Field(
        default=0, ge=0, le=5, description="Links that are followed from there, within one host."
    )
    pages_per_domain: Annotated[int, LoosensSecurity()] = Field(
        default=20, ge=1, le=1000, description="Most pages of one domain in one go."
    )
    cooldown_minutes: float = Field(default=60.0, ge=0, description="Least time between two readings of one page.")
    sanitize: SanitizeSettings = SanitizeSettings()


class IngestSettings(Section):
    web: IngestWebSettings = IngestWebSettings()


class GateSettings(Section):
    """What a candidate must show before a person may promote it."""

    taught: Annotated[float, LoosensSecurity()] = Field(
        default=0.9, ge=0, le=1, description="Share of the taught questions answered, at least."
    )
    paraphrases: Annotated[float, LoosensSecurity()] = Field(
        default=0.75, ge=0, le=1, description="Share of their paraphrases answered, at least."
    )
    earlier: Annotated[float, LoosensSecurity()] = Field(
        default=0.8, ge=0, le=1, description="Share of earlier lessons still answered, at least."
    )
    near: Annotated[float, LoosensSecurity()] = Field(
        default=0.1, ge=0, le=1, description="Share of neighbouring questions that change, at most."
    )
    kl: Annotated[float, LoosensSecurity()] = Field(
        default=0.1, ge=0, description="Distance to the base on ordinary text, nats a token, at most."
    )
    perplexity: Annotated[float, LoosensSecurity()] = Field(
        default=0.02, ge=0, description="Growth of perplexity on the worst text, at most."
    )
    holdout: Annotated[float, LoosensSecurity()] = Field(
        default=0.0, ge=0, description="Ordinary questions lost beyond the noise, at most."
    )
    collapse: Annotated[float, LoosensSecurity()] = Field(
        default=0.05, ge=0, le=1, description="Share of answers that loop or shrink, at most."
    )
    refusals: Annotated[float, LoosensSecurity()] = Field(
        default=0.1, ge=0, le=1, description="Share of refusals that are lost, at most."
    )


class ContinuousSettings(Section):
    """Learning from corrections: at once as lessons, then in the weights, behind gates and a person's approval."""

    lessons: bool = Field(default=True, description="Offer a correction to the next question that asks for it.")
    lesson_similarity: float = Field(default=0.65, ge=0, le=1, description="How near a question must be to a lesson.")
    approval: Annotated[Literal["hash", "presence"], LoosensSecurity()] = Field(
        default="hash", description="hash: APPROVE.txt holds the candidate's hash; presence: an empty one is enough."
    )
    rank: int = Field(default=8, ge=1, le=256, description="Rank of the low-rank layers.")
    alpha: float = Field(default=16.0, gt=0, description="Their scale is alpha / rank.")
    layers: str = Field(default="", description="Ends of the names of layers to change, by commas; empty: all linears.")
    learning_rate: float = Field(default=1e-3, gt=0, description="1e-3 at 135M; larger models want less.")
    kl_weight: float = Field(
        default=1.0, ge=0, description="Weight of the distance to the base; 0 ruins a small model."
    )
    steps: int = Field(default=120, ge=1, description="Most steps of a training.")
    minutes: float = Field(default=30.0, ge=0, description="Most minutes of a training; 0: no limit.")
    batch_tokens: int = Field(default=640, ge=16, description="Tokens of corrected answers in a step, about.")
    phrasings: int = Field(default=8, ge=1, le=32, description="Phrasings of a question, made by rules.")
    stop_at: float = Field(default=0.02, ge=0, description="Mean loss that ends a training; facts below it rest.")
    memory_mb: int = Field(default=0, ge=0, description="Most memory of a training step; 0: what is free.")
    base_bits: Literal[16, 4] = Field(
        default=16, description="4: the frozen base is packed to four bits (QLoRA), for a card that does not hold 16."
    )
    kept_prompts: int = Field(default=200, ge=0, description="Ordinary questions on which the model is held.")
    seed: int = Field(default=0, ge=0, description="Of everything that is drawn.")
    gates: GateSettings = GateSettings()
    ingest_web: Annotated[bool, LoosensSecurity()] = Field(
        default=False, description="Pages of allowed domains may become rows; never an automatic promotion."
    )
    ingest: IngestSettings = IngestSettings()


class Settings(Section):
    """All settings of one run. Immutable."""

    model: ModelSettings = ModelSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    c3: C3Settings = C3Settings()
    decode: DecodeSettings = DecodeSettings()
    bad: BadSettings = BadSettings()
    adapters: AdapterSettings = AdapterSettings()
    kv: KvSettings = KvSettings()
    chat: ChatSettings = ChatSettings()
    server: ServerSettings = ServerSettings()
    rag: RagSettings = RagSettings()
    vortex_tok: VortexTokSettings = VortexTokSettings()
    train_core: TrainCoreSettings = TrainCoreSettings()
    core: CoreSettings = CoreSettings()
    vortex_model: VortexModelSettings = VortexModelSettings()
    depth_gating: DepthGatingSettings = DepthGatingSettings()
    tools: ToolsSettings = ToolsSettings()
    continuous: ContinuousSettings = ContinuousSettings()


SECRET_KEYS = frozenset({"server.api_token"})


def children(section: type[BaseModel]) -> dict[str, type[BaseModel] | None]:
    """Names inside a section; a nested section maps to its class, a plain setting to None."""
    return {
        name: field.annotation
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        else None
        for name, field in section.model_fields.items()
    }


def keys_of(section: type[BaseModel] = Settings, prefix: str = "") -> list[str]:
    """Every setting as a dotted key, in the order of this file."""
    keys = []
    for name, nested in children(section).items():
        keys += keys_of(nested, f"{prefix}{name}.") if nested else [f"{prefix}{name}"]
    return keys


def loosening_keys(section: type[BaseModel] = Settings, prefix: str = "") -> frozenset[str]:
    """Keys that the working folder's file may not set."""
    keys: set[str] = set()
    for name, field in section.model_fields.items():
        if nested := children(section)[name]:
            keys |= loosening_keys(nested, f"{prefix}{name}.")
        elif any(isinstance(mark, LoosensSecurity) for mark in field.metadata):
            keys.add(f"{prefix}{name}")
    return frozenset(keys)
