"""Tiles: codecs give back every byte, readers check what lands, ring regions never overlap, a full disk is one line."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vortex.c3.format.bf16_planes import CODE_BYTES, GROUP, HEADER, _native_decode, decode_e3, encode_planes
from vortex.c3.format.codecs import BF16, BF16_E3, CODECS, RAW, ZSTD, CodecError, decode, encode, encoded
from vortex.c3.format.folder import INDEX, TILE_BYTES, C3Folder, C3Writer, aligned
from vortex.c3.paging.calibration import disk_profile
from vortex.c3.paging.direct_file import DirectFile
from vortex.c3.paging.ring import Ring, anonymous_bytes
from vortex.c3.paging.tile_reader import ReadShape, TileReader
from vortex.c3.sources import ResidentSource, units_of
from vortex.errors import ModelFileError
from vortex.kernels import dispatch

RNG = np.random.default_rng(1)


def bf16(count: int) -> np.ndarray:
    """Gaussian weights as bytes."""
    return (RNG.standard_normal(count).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)


@settings(max_examples=40, deadline=None)
@given(
    tile=arrays.arrays(np.uint8, st.integers(0, 3000).map(lambda n: 2 * n)),
    codec=st.sampled_from([ZSTD, BF16, BF16_E3]),
)
def test_every_codec_gives_back_every_byte(tile: np.ndarray, codec: str) -> None:
    out = np.empty_like(tile)
    decode(codec, memoryview(encoded(codec, tile)), out)
    np.testing.assert_array_equal(out, tile)


def test_bf16_shrinks_to_seven_tenths_and_noise_stays_raw() -> None:
    codec, stored = encode(bf16(1 << 20), is_bf16=True)
    assert codec == BF16_E3
    assert len(stored) <= 0.72 * (2 << 20)
    noise = RNG.integers(0, 256, 2 << 20, dtype=np.uint8)
    assert encode(noise, is_bf16=False)[0] == encode(noise, is_bf16=True)[0] == RAW
    assert encode(np.zeros(9, np.uint8), is_bf16=True)[0] == RAW  # nothing to gain on so few


def test_exponents_everywhere_go_to_the_slower_codec() -> None:
    wide = (RNG.standard_normal(1 << 19) * 2.0 ** RNG.integers(-12, 12, 1 << 19)).astype(np.float32)
    assert encode((wide.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8), is_bf16=True)[0] == BF16


@pytest.mark.skipif(not dispatch.usable(), reason="the native core was not built here")
@pytest.mark.parametrize("name", dispatch.choices()[:-1])
def test_the_native_decoder_is_its_numpy_twin(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VORTEX_KERNELS", name)
    dispatch.load()
    scaled = (RNG.standard_normal(640) * 2.0 ** RNG.integers(-3, 3, 640)).astype(np.float32)
    tile = (scaled.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    stored = np.frombuffer(encode_planes(tile), np.uint8)
    top, num_escapes = HEADER.unpack_from(stored)
    codes_end = HEADER.size + 640 + 640 // GROUP * CODE_BYTES
    parts = (stored[HEADER.size : HEADER.size + 640], stored[HEADER.size + 640 : codes_end], top)
    assert num_escapes > 20
    for kept in (
        num_escapes,
        num_escapes - 7,
    ):  # a list that ends too early: the count tells, nothing is read behind it
        ours, twin = np.empty_like(tile), np.empty_like(tile)
        escapes = stored[codes_end : codes_end + kept].copy()
        assert _native_decode(*parts, escapes, ours) == decode_e3(*parts, escapes, twin) == num_escapes
        np.testing.assert_array_equal(ours, twin)
    assert not np.array_equal(ours, tile)


@settings(max_examples=60, deadline=None)
@given(stored=st.binary(max_size=200), codec=st.sampled_from([*CODECS, "foreign"]), size=st.integers(0, 50))
def test_foreign_bytes_are_an_error_or_bytes_never_a_crash(stored: bytes, codec: str, size: int) -> None:
    with contextlib.suppress(CodecError):
        decode(codec, memoryview(stored), np.empty(2 * size, np.uint8))


def packed(path: Path, *, compress: bool) -> dict[str, np.ndarray]:
    tensors = {"embedding": bf16(5000), "a.0": bf16(TILE_BYTES // 2 * 2 + 77), "a.1": bf16(9), "b.0": bf16(TILE_BYTES)}
    with C3Writer(path, {}, compress=compress) as writer:
        for name, data in tensors.items():
            writer.add(name, "torch_bf16", (len(data) // 2,), data)
    return tensors


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("compress", [False, True])
def test_a_reader_fills_memory_with_what_was_packed(
    tmp_path: Path, compress: bool, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = packed(tmp_path / "m.c3", compress=compress)
    folder = C3Folder(tmp_path / "m.c3")
    if not direct:  # a system without direct reads
        monkeypatch.setattr("vortex.c3.paging.direct_file.DIRECT_FLAG", 0)
    with DirectFile(folder.weights_path) as file:
        assert file.is_direct <= direct
        reader = TileReader(folder.path, file.read_into, ReadShape(threads=3, tiles_per_read=2))
        targets = {name: anonymous_bytes(aligned(entry.num_bytes)) for name, entry in folder.entries.items()}
        reader.start([(folder.entries[name], target) for name, target in targets.items()]).wait(10)
        reader.close()
    for name, data in tensors.items():
        np.testing.assert_array_equal(targets[name][: len(data)], data)
        np.testing.assert_array_equal(folder.read(name), data)
    assert folder.entries["a.0"].is_raw is not compress
    assert folder.entries["embedding"].is_raw  # rows of it are gathered from the map
    with ResidentSource(folder).lease("a") as lease:
        assert list(lease.views) == ["a.0", "a.1"]
    assert list(units_of(folder.entries)) == ["a", "b"]


@pytest.mark.parametrize("compress", [False, True])
def test_resident_tiles_are_checked_at_their_first_use(tmp_path: Path, compress: bool) -> None:
    packed(tmp_path / "m.c3", compress=compress)
    folder = C3Folder(tmp_path / "m.c3")
    for name in ("a.0", "embedding"):
        with folder.weights_path.open("r+b") as file:
            file.seek(folder.entries[name].offset + 40)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))
    source = ResidentSource(C3Folder(tmp_path / "m.c3"))
    with pytest.raises(ModelFileError, match=r"tile 1 of 3 of a\.0 fails its checksum"), source.lease("a"):
        pass
    with pytest.raises(ModelFileError, match="of embedding fails its checksum"):
        source.read("embedding")


@pytest.mark.parametrize("edit", [('"bf16"', '"zstd"'), ("12288", "12289"), ("2097152", "2097153")])
def test_an_index_that_lies_is_found(tmp_path: Path, edit: tuple[str, str]) -> None:
    packed(tmp_path / "m.c3", compress=True)
    index = tmp_path / "m.c3" / INDEX
    index.write_text(index.read_text().replace(*edit))
    with pytest.raises(ModelFileError, match=r"m\.c3"):
        C3Folder(tmp_path / "m.c3").read("a.0")


@settings(max_examples=50, deadline=None)
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=40), capacity=st.integers(5, 17))
def test_regions_of_the_ring_never_overlap(sizes: list[int], capacity: int) -> None:
    ring, held = Ring(anonymous_bytes(capacity * 4096)), []
    for number, size in enumerate(sizes):
        while (region := ring.take(size * 4096)) is None:
            oldest, expected = held.pop(0)
            assert (oldest == expected).all()
            ring.give_back()
        region[:] = number % 251
        held.append((region, number % 251))
    assert all((region == expected).all() for region, expected in held)


def test_a_disk_is_measured_once_and_remembered(tmp_path: Path) -> None:
    packed(tmp_path / "m.c3", compress=False)
    memory = tmp_path / "disks.json"
    with DirectFile(tmp_path / "m.c3" / "weights.bin") as file:
        assert disk_profile(file, 1 << 20, memory) is None  # too small to tell
        key = f"{file.device}-{'direct' if file.is_direct else 'buffered'}"
        memory.write_text(f'{{"{key}": {{"threads": 5, "tiles_per_read": 1, "bytes_per_second": 7}}}}')
        profile = disk_profile(file, 1 << 20, memory)
        assert profile is not None
        assert profile.shape == ReadShape(5, 1)
        memory.write_text("[broken")
        assert disk_profile(file, 1 << 20, memory) is None


PACK = """
import resource, signal, sys, numpy as np
from pathlib import Path
from vortex.c3.format.folder import C3Writer
from vortex.errors import StorageError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    with C3Writer(Path(sys.argv[1]), {}) as writer:
        for index in range(4):
            writer.add(f"t{index}", "raw", (1 << 19,), np.zeros(1 << 19, np.uint8))
except StorageError as error:
    print(error)
"""


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PACK, str(tmp_path / "m.c3")], capture_output=True, text=True, check=True
    )
    assert "free some space" in result.stdout
    assert len(result.stdout.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
