"""What every request to the console passes, and what every answer carries.

Asked in this order: does the page that asks belong to this server; is somebody inside; does a change carry the form's
token. An answer runs no script but the files of this package, is never framed, never kept, and loads nothing from
elsewhere. Does not check the Host: the server does, before anything comes here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.requests import Request

from vortex.console.doors import MAX_TOKEN_CHARS, Doors, fits
from vortex.errors import VortexError

MAX_FORM_BYTES = 64 * 1024
TOKEN_HEADER = "x-console-token"  # noqa: S105 - the name of a header
FORM = "application/x-www-form-urlencoded"
POLICY = "; ".join(
    (
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'",
        "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'", "require-trusted-types-for 'script'",
        "trusted-types vortex",
    )
)  # fmt: skip
HEADERS: Mapping[str, str] = {
    "content-security-policy": POLICY,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # no-referrer would make browsers send `Origin: null` with our own forms
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "cache-control": "no-store",
}


class Refused(VortexError):
    """A request that may not act. status: of HTTP. reason: a key of the page's words."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass(frozen=True, slots=True)
class Guard:
    doors: Doors

    def check_page(self, request: Request) -> None:
        """Raises Refused for a request that another page made."""
        origin = request.headers.get("origin")
        if origin is not None and origin.lower() != own_origin(request):
            raise Refused(403, "other_page")
        if request.headers.get("sec-fetch-site") not in {None, "none", "same-origin"}:
            raise Refused(403, "other_page")
        if request.method == "POST" and origin is None:  # every browser sends one with a change
            raise Refused(403, "other_page")

    def session(self, request: Request) -> str:
        """The token of who is inside. Raises Refused."""
        token = request.cookies.get(cookie_name(request))
        if token is None or not self.doors.is_inside(token):
            raise Refused(401, "outside")
        return token

    def check_token(self, session: str, sent: str | None) -> None:
        if not sent or len(sent) > MAX_TOKEN_CHARS or not fits(session, sent):
            raise Refused(403, "wrong_token")


def own_origin(request: Request) -> str:
    return f"{request.scope['scheme']}://{request.headers.get('host', '')}".lower()


def cookie_name(request: Request) -> str:
    """Cookies do not know ports, so the name does: two servers of one machine keep their sessions apart."""
    port = request.headers.get("host", "").rpartition(":")[2]
    return f"vortex_console_{port}" if port.isdigit() else "vortex_console"


async def read_form(request: Request) -> dict[str, str]:
    """The fields of an ordinary form; the last of a name counts. Raises Refused."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise Refused(415, "no_form")
    size, body = 0, bytearray()
    async for piece in request.stream():
        size += len(piece)
        if size > MAX_FORM_BYTES:
            raise Refused(413, "form_too_large")
        body += piece
    try:
        return dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=32))
    except ValueError:
        raise Refused(400, "no_form") from None
