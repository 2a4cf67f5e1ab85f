"""Bytes as a stream of codes in a file, and back. Specified in docs/tokenizer.md.

    header   "VXTS", version u8, bytes per code u8 (2 or 4), fingerprint of the vocabulary (16 bytes)
    frames   number of codes u32 (at least 1), the codes, xxh64 of the frame so far
    end      0 u32, bytes of the original u64, codes u64, xxh64 of the original bytes

All numbers little-endian. Promises bounded memory, and that a stream that is cut, changed or of another vocabulary
raises ModelFileError: a frame is checked before its bytes are given out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import xxhash

from vortex.errors import ModelFileError, RequestError
from vortex.tokenizer.vortex_tok.tokenizer import VortexTokenizer

MAGIC = b"VXTS"
VERSION = 1
READ_BYTES = 1 << 18
MAX_FRAME_CODES = 1 << 16
_HEADER = struct.Struct("<4sBB16s")
_COUNT = struct.Struct("<I")
_END = struct.Struct("<QQ8s")
_DIGEST_BYTES = 8


@dataclass(frozen=True, slots=True)
class StreamTotals:
    num_bytes: int
    num_codes: int


def write_stream(tokenizer: VortexTokenizer, source: BinaryIO, target: BinaryIO | None) -> StreamTotals:
    """Encode `source` into `target`; without a target, only count."""
    width = 2 if tokenizer.vocabulary.num_codes <= 1 << 16 else 4
    if target:
        target.write(_HEADER.pack(MAGIC, VERSION, width, tokenizer.fingerprint))
    encoder, digest = tokenizer.stream_encoder(), xxhash.xxh64()
    num_bytes = num_codes = 0
    while True:
        data = source.read(READ_BYTES)
        digest.update(data)
        num_bytes += len(data)
        codes = encoder.push(data) if data else encoder.finish()
        num_codes += len(codes)
        for at in range(0, len(codes) if target else 0, MAX_FRAME_CODES):
            part = codes[at : at + MAX_FRAME_CODES]
            frame = _COUNT.pack(len(part)) + part.astype(f"<u{width}").tobytes()
            assert target
            target.write(frame + xxhash.xxh64_digest(frame))
        if not data:
            break
    if target:
        target.write(_COUNT.pack(0) + _END.pack(num_bytes, num_codes, digest.digest()))
    return StreamTotals(num_bytes, num_codes)


def read_stream(tokenizer: VortexTokenizer, source: BinaryIO) -> Iterator[bytes]:
    """The bytes of a stream, a checked frame at a time.

    Raises ModelFileError; what came until then is right, but not all.
    """
    width = _read_header(tokenizer, source)
    digest = xxhash.xxh64()
    num_bytes = num_codes = 0
    while count := _COUNT.unpack(head := _exactly(source, _COUNT.size))[0]:
        if count > MAX_FRAME_CODES:
            raise ModelFileError(f"the stream is damaged after {num_codes} codes: a frame longer than any")
        body = _exactly(source, count * width)
        if xxhash.xxh64_digest(head + body) != _exactly(source, _DIGEST_BYTES):
            raise ModelFileError(f"the stream is damaged after {num_codes} codes: a checksum does not fit")
        try:
            data = tokenizer.decode_bytes(np.frombuffer(body, f"<u{width}"))
        except RequestError as error:
            raise ModelFileError(f"the stream is damaged after {num_codes} codes: {error}") from error
        yield data
        digest.update(data)
        num_bytes += len(data)
        num_codes += count
    if _END.unpack(_exactly(source, _END.size)) != (num_bytes, num_codes, digest.digest()):
        raise ModelFileError("the stream is damaged: its totals or its checksum do not fit")
    if source.read(1):
        raise ModelFileError("the stream is damaged: bytes after its end")


def _read_header(tokenizer: VortexTokenizer, source: BinaryIO) -> int:
    """Bytes per code."""
    data = source.read(_HEADER.size)
    if data[:4] != MAGIC:
        raise ModelFileError("not a Vortex-Tok stream: it does not start with VXTS (vortex tokenizer encode makes one)")
    if len(data) < _HEADER.size:
        raise ModelFileError("the stream ends early: it was cut inside its header")
    _, version, width, fingerprint = _HEADER.unpack(data)
    if version != VERSION or width not in (2, 4):
        raise ModelFileError(f"the stream has version {version}; this program reads version {VERSION}")
    if fingerprint != tokenizer.fingerprint:
        raise ModelFileError("the stream was made with another tokenizer: name that one with --tokenizer")
    return int(width)


def _exactly(source: BinaryIO, size: int) -> bytes:
    data = source.read(size)
    if len(data) < size:
        raise ModelFileError("the stream ends early: it was cut or is still being written")
    return data
