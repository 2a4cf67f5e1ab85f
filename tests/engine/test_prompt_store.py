"""Prompts on disk: after a restart the same bits, and whatever is damaged or of another model is a miss."""

from __future__ import annotations

import logging
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.engine.conftest import request
from vortex.c3.format.folder import C3Folder, C3Writer
from vortex.c3.sources import ResidentSource
from vortex.engine.backend import LocalBackend
from vortex.engine.options import EngineOptions
from vortex.engine.prompt_store import PromptStoreOptions
from vortex.models.decoder.model import Decoder
from vortex.models.decoder.native_cache import NativeCache
from vortex.models.decoder.native_compute import NativeCompute
from vortex.models.decoder.native_pack import pack
from vortex.models.files.decoder_config import DecoderConfig
from vortex.models.files.random_checkpoint import RandomCheckpoint
from vortex.tokenizer.byte_tokenizer import ByteChatFormat, ByteTokenizer
from vortex.types import Completed, ModelCard, Started, TextDelta

PROMPT = "abcdefgh" * 50  # 400 tokens and the first: three chunks of 128
TEXTS = [PROMPT, PROMPT[:300] + "z" * 40, "another one " * 30]


CONFIG = DecoderConfig(
    architecture="llama", num_layers=2, width=64, ffn_width=96, num_heads=4, num_kv_heads=2, head_width=32,
    vocab_size=ByteTokenizer().vocab_size, context_length=1024, norm_epsilon=1e-6, rope_theta=10000.0, tied_head=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "tiny.c3"
    with C3Writer(path, {"config": CONFIG.to_json()}) as writer:
        pack(RandomCheckpoint(CONFIG), writer)
    return path


@pytest.fixture(autouse=True)
def model_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `native_model` reads from."""
    monkeypatch.setitem(FOLDER, "path", folder)


FOLDER: dict[str, Path] = {}


def native_model() -> Decoder:
    return Decoder(CONFIG, NativeCompute(CONFIG, ResidentSource(C3Folder(FOLDER["path"]))))


@pytest.fixture
def options(tmp_path: Path) -> EngineOptions:
    return EngineOptions(
        prefix_cache_bytes=50_000_000,
        prompt_store=PromptStoreOptions(tmp_path / "prompts", 10_000_000, lambda: "sha256:one"),
    )


async def answers(options: EngineOptions, texts: list[str] = TEXTS) -> tuple[list[list[int]], list[int]]:
    """The tokens of each answer, and how many tokens of each prompt were not swept, in a process of its own."""
    backend = LocalBackend(native_model(), ByteTokenizer(), ByteChatFormat(), ModelCard(name="m"), options)
    tokens, cached = [], []
    for text in texts:
        found: list[int] = []
        async for event in backend.chat(request(prompt=text, max_tokens=6, ignore_eos=True)):
            assert not isinstance(event, Started) or event.model == "m"
            if isinstance(event, TextDelta):
                found += [one.token_id for one in event.logprobs]
            if isinstance(event, Completed):
                cached.append(event.usage.cached_tokens)
        tokens.append(found)
    await backend.close()
    return tokens, cached


def files(options: EngineOptions) -> list[Path]:
    assert options.prompt_store is not None
    return sorted(options.prompt_store.folder.rglob("*.prompt"))


async def test_the_first_turn_after_a_restart_is_the_cold_one_bit_for_bit(options: EngineOptions) -> None:
    cold, before = await answers(replace(options, prompt_store=None))
    assert (await answers(options))[0] == cold
    again, after = await answers(options)
    assert again == cold
    assert before[0] == 0
    assert after[0] == 384
    assert options.prompt_store is not None
    for path in [options.prompt_store.folder, *options.prompt_store.folder.rglob("*")]:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, f"{path} is not its owner's alone"


async def test_one_too_large_for_memory_goes_to_disk_at_once(options: EngineOptions) -> None:
    small = replace(options, prefix_cache_bytes=1000)
    cold, _ = await answers(small)
    again, cached = await answers(small)
    assert (again, cached[0]) == (cold, 384)


Damage = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: b"GGUF" + content[4:],
        lambda content: content[:8] + b"\xff" * 8 + content[16:],
        lambda content: content[:40] + bytes([content[40] ^ 1]) + content[41:],
        lambda content: content[:-100] + bytes([content[-100] ^ 1]) + content[-99:],
    ],
)
async def test_a_damaged_file_is_a_miss_said_once(
    damage: Damage, options: EngineOptions, caplog: pytest.LogCaptureFixture
) -> None:
    cold, _ = await answers(options, [PROMPT])
    for path in files(options):
        path.write_bytes(damage(path.read_bytes()))
    with caplog.at_level(logging.WARNING):
        again, cached = await answers(options, [PROMPT])
    assert (again, cached) == (cold, [0])
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == len([line for line in said if "a kept prompt is damaged and was deleted" in line]) > 0
    assert (await answers(options, [PROMPT]))[1] == [384]


async def test_other_weights_are_never_looked_at(options: EngineOptions) -> None:
    await answers(options, [PROMPT])
    assert options.prompt_store is not None
    other = replace(options, prompt_store=replace(options.prompt_store, identity=lambda: "sha256:two"))
    assert (await answers(other, [PROMPT]))[1] == [0]


async def test_a_file_of_another_prompt_under_this_name_is_a_miss(
    options: EngineOptions, caplog: pytest.LogCaptureFixture
) -> None:
    await answers(options, [PROMPT])
    first = {path.name for path in files(options)}
    await answers(options, [TEXTS[2]])
    (other, *_) = [path for path in files(options) if path.name not in first]
    for path in files(options):
        if path.name in first:
            path.write_bytes(other.read_bytes())
    assert (await answers(options, [PROMPT]))[1] == [0]
    assert "it is of another prompt" in caplog.text


async def test_all_files_together_stay_within_the_budget(options: EngineOptions) -> None:
    await answers(options)
    assert options.prompt_store is not None
    kept = sum(path.stat().st_size for path in files(options))
    small = replace(options, prompt_store=replace(options.prompt_store, budget_bytes=kept // 2))
    await answers(small, ["something else " * 30])
    assert 0 < sum(path.stat().st_size for path in files(options)) <= kept // 2
    none = replace(options, prompt_store=replace(options.prompt_store, budget_bytes=10))
    await answers(none, [PROMPT + "!"])


async def test_a_folder_that_cannot_be_written_is_said_and_no_more(
    options: EngineOptions, caplog: pytest.LogCaptureFixture
) -> None:
    assert options.prompt_store is not None
    options.prompt_store.folder.parent.mkdir(exist_ok=True)
    options.prompt_store.folder.write_text("a file")
    assert np.shape((await answers(options, [PROMPT]))[0]) == (1, 6)
    assert "a prompt could not be kept on disk" in caplog.text


def test_an_int8_cache_is_written_and_read_with_its_scales() -> None:
    cache, other = NativeCache(CONFIG, int8=True), NativeCache(CONFIG, int8=True)
    cache.reserve(300)
    rng = np.random.default_rng(0)
    for array in cache.arrays(256):
        array[:] = rng.integers(0, 100, array.shape)
    other.fill(256, cache.arrays(256))
    assert all(np.array_equal(one, two) for one, two in zip(cache.arrays(256), other.arrays(256), strict=True))
    assert cache.form != NativeCache(CONFIG).form
    with pytest.raises(ValueError, match="other shapes"):
        NativeCache(CONFIG, int8=True).fill(128, cache.arrays(256))


async def test_weights_that_went_away_end_no_engine(options: EngineOptions) -> None:
    def gone() -> str:
        raise FileNotFoundError("the weights went away")

    assert options.prompt_store is not None
    broken = replace(options, prompt_store=replace(options.prompt_store, identity=gone))
    first, _ = await answers(broken)
    again, _ = await answers(broken)
    assert first == again
