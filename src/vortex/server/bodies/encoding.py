"""Compressed bodies: gzip, deflate and zstd, opened under the limit that plain ones have."""

from __future__ import annotations

import zlib

import zstandard

from vortex.errors import RequestError
from vortex.server.errors import Refusal


def decoded(sent: bytes, encoding: str, limit_bytes: int) -> bytes:
    """The body as it was before it was compressed; never more than `limit_bytes` are made. Refusal for what is larger
    or of another encoding, RequestError for what is broken."""
    if encoding in ("", "identity"):
        return sent
    try:
        if encoding in ("gzip", "x-gzip", "deflate"):
            window = -zlib.MAX_WBITS if encoding == "deflate" and not _has_zlib_head(sent) else zlib.MAX_WBITS | 32
            opener = zlib.decompressobj(window)
            text = opener.decompress(sent, limit_bytes + 1)
            is_whole = opener.eof
        elif encoding == "zstd":
            with zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(sent) as reader:
                text = reader.read(limit_bytes + 1)
            is_whole = True
        else:
            reason = f"the content-encoding {encoding!r} is not supported; send gzip, zstd or none"
            raise Refusal(415, reason, code="unsupported_encoding", headers={"Accept-Encoding": "gzip, zstd"})
    except (zlib.error, zstandard.ZstdError) as error:
        raise RequestError(f"the body is not valid {encoding}: {error}", code="invalid_encoding") from None
    if len(text) > limit_bytes:
        raise Refusal(413, f"the body unpacks to more than {limit_bytes} bytes; send less", code="request_too_large")
    if not is_whole:
        raise RequestError(f"the {encoding} body is cut off", code="invalid_encoding")
    return text


def _has_zlib_head(sent: bytes) -> bool:
    return len(sent) > 1 and sent[0] & 15 == 8 and int.from_bytes(sent[:2]) % 31 == 0  # RFC 1950
