"""A disk fails under a paged model: the requests of that sweep end with the tile's name, later ones are right."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from vortex.c3.format.folder import C3Folder, C3Writer, aligned
from vortex.c3.paging.direct_file import DirectFile
from vortex.c3.paging.options import PagerOptions
from vortex.c3.paging.pager import Pager
from vortex.c3.sources import units_of
from vortex.engine.backend import LocalBackend
from vortex.engine.options import EngineOptions
from vortex.errors import BackendError
from vortex.kernels import dispatch
from vortex.models.decoder.model import Decoder
from vortex.models.files.decoder_config import DecoderConfig
from vortex.models.files.random_checkpoint import RandomCheckpoint
from vortex.tokenizer.byte_tokenizer import ByteChatFormat, ByteTokenizer
from vortex.types import ChatRequest, ModelCard, TextDelta

pytestmark = pytest.mark.skipif(not dispatch.usable(), reason="the native core was not built here")
CONFIG = DecoderConfig(
    architecture="llama", num_layers=3, width=64, ffn_width=128, num_heads=2, num_kv_heads=1, head_width=32,
    vocab_size=ByteTokenizer().vocab_size, context_length=256, norm_epsilon=1e-6, rope_theta=10_000.0,
)  # fmt: skip


class Disk:
    """The real file, until it fails."""

    def __init__(self, folder: C3Folder) -> None:
        self.file = DirectFile(folder.weights_path)
        self.failing = False

    def read_into(self, target: memoryview, offset: int) -> None:
        if self.failing:
            raise OSError(errno.EIO, "Input/output error")
        self.file.read_into(target, offset)


@pytest.fixture
def folder(tmp_path: Path) -> C3Folder:
    from vortex.models.decoder.native_pack import pack

    with C3Writer(tmp_path / "tiny.c3", {}) as writer:
        pack(RandomCheckpoint(CONFIG), writer)
    return C3Folder(tmp_path / "tiny.c3")


@asynccontextmanager
async def paged(folder: C3Folder, disk: Disk) -> AsyncIterator[LocalBackend]:
    from vortex.models.decoder.native_compute import NativeCompute

    sizes = [sum(aligned(part.num_bytes) for part in parts) for parts in units_of(folder.entries).values()]
    pager = Pager(folder, PagerOptions(budget_bytes=2 * max(sizes[:-1]) + sizes[-1]), disk.read_into)
    model = Decoder(CONFIG, NativeCompute(CONFIG, pager, threads=2))
    options = EngineOptions(max_slots=2)
    backend = LocalBackend(model, ByteTokenizer(), ByteChatFormat(), ModelCard(name="tiny"), options)
    try:
        yield backend
    finally:
        await backend.close()


async def tokens(backend: LocalBackend, prompt: str) -> list[int]:
    request = ChatRequest(request_id="r", prompt=prompt, max_tokens=12, ignore_eos=True, top_logprobs=0)
    events = [event async for event in backend.chat(request)]
    return [one.token_id for event in events if isinstance(event, TextDelta) for one in event.logprobs]


async def test_requests_end_with_the_tiles_name_and_later_ones_are_right(folder: C3Folder) -> None:
    disk = Disk(folder)
    async with paged(folder, disk) as backend:
        expected = [await tokens(backend, prompt) for prompt in ("one", "another")]
        disk.failing = True
        failed = await asyncio.gather(*(tokens(backend, prompt) for prompt in ("one", "other")), return_exceptions=True)
        assert all(isinstance(error, BackendError) for error in failed)
        assert "tile 1 of 1 of layers." in str(failed[0])
        disk.failing = False
        again = await asyncio.gather(*(tokens(backend, prompt) for prompt in ("one", "another")))
        assert list(again) == expected
