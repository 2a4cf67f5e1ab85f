"""Images in messages: looked at just enough to say what is wrong, then refused, since the models here read text.

A URL is never fetched: who serves a model to others must not be made to call addresses for them.
"""

from __future__ import annotations

import base64
import binascii
import re

from vortex.errors import RequestError

DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,", re.IGNORECASE)
SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")
HEAD_CHARS = 64  # of base64, in which an image's kind can be seen
NO_EYES = "this model reads text alone: leave the image out, or describe it in words"


def refuse_url(url: str, param: str) -> RequestError:
    """The error for an image given by an address, which may be a `data:` one."""
    data = DATA_URL.match(url[:256])
    if data is None:
        reason = "an image's URL is never fetched by this server; send its bytes as a data: URL in base64"
        return RequestError(f"{reason}; and {NO_EYES}", param=param, code="unsupported_content")
    return refuse_base64(url[data.end() :], param)


def refuse_base64(data: str, param: str) -> RequestError:
    """The error for an image given by its bytes."""
    if not _is_image(data[:HEAD_CHARS]):
        reason = "this is not an image (PNG, JPEG, GIF or WebP, in base64)"
        return RequestError(reason, param=param, code="invalid_image")
    return RequestError(NO_EYES, param=param, code="unsupported_content")


def _is_image(head: str) -> bool:
    try:
        begin = base64.b64decode(head[: len(head) // 4 * 4], validate=True)
    except (binascii.Error, ValueError):
        return False
    return begin.startswith(SIGNATURES) or (begin[:4] == b"RIFF" and begin[8:12] == b"WEBP")
