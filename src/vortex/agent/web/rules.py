"""Which URLs may be asked for: scheme, host, port, and whether a person allowed the domain.

One parse decides and the same parse is connected to, so that no two readings of a URL can differ. Domains are compared
in their ASCII form; an address in any notation is not a domain and is refused. Knows no network.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from vortex.errors import WebRefused

PORTS = {"http": 80, "https": 443}
LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\<>\"^`{|}]")
KEPT = "%/:=&?~#+!$,;'@()*[]"
MAX_URL_CHARS = 2048


@dataclass(frozen=True)
class Target:
    """A URL that was taken apart once. `path` has the query; there is never a fragment or a user."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}{self.path}"


def read_url(text: str) -> Target:
    """Take a URL apart. Raises WebRefused for anything but plain http(s) to a named host on its ordinary port."""
    text = text.strip()
    if len(text) > MAX_URL_CHARS:
        raise WebRefused(f"a URL of {len(text)} characters; at most {MAX_URL_CHARS} are asked for")
    if FORBIDDEN.search(text):
        raise WebRefused(f"{text[:80]!r} holds characters that no URL may hold; write it without them")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise WebRefused(f"{text[:80]!r} is not a URL: {error}") from error
    if parts.scheme not in PORTS:
        raise WebRefused(f"{parts.scheme or 'no scheme'!r} is not fetched; only http and https are")
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise WebRefused("a URL with a user in it is not fetched; write it without")
    if port not in {None, PORTS[parts.scheme]}:
        raise WebRefused(f"port {port} is not fetched; only {PORTS[parts.scheme]} is for {parts.scheme}")
    path = quote(parts.path or "/", safe=KEPT)
    query = f"?{quote(parts.query, safe=KEPT)}" if parts.query else ""
    return Target(parts.scheme, plain_host(parts.hostname or ""), PORTS[parts.scheme], path + query)


def plain_host(host: str) -> str:
    """A host name in ASCII and lower case. Raises WebRefused for addresses and for what is no name."""
    host = host.rstrip(".")
    try:
        name = host.encode("idna").decode("ascii").lower() if not host.isascii() else host.lower()
    except UnicodeError as error:
        raise WebRefused(f"{host[:80]!r} is not a host name") from error
    labels = name.split(".")
    if _is_address(host) or labels[-1].isdigit() or labels[-1].startswith("0x"):
        raise WebRefused(f"{host[:80]!r} is an address, not a domain; only domains are fetched")
    if len(name) > 253 or len(labels) < 2 or not all(LABEL.fullmatch(label) for label in labels):
        raise WebRefused(f"{host[:80]!r} is not a domain that can be fetched")
    return name


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def allowed_by(host: str, allow_domains: Sequence[str]) -> bool:
    """The host is one of the domains, or below one."""
    for domain in allow_domains:
        try:
            name = plain_host(domain.removeprefix("*.").strip())
        except WebRefused:
            continue  # an entry that is no domain allows nothing
        if host == name or host.endswith("." + name):
            return True
    return False


def follow(current: Target, location: str) -> Target:
    """Where a redirect leads. Never from https down to http."""
    try:
        joined = urljoin(current.url, location)
    except ValueError as error:
        raise WebRefused(f"{current.url} redirects to what is no URL: {error}") from error
    following = read_url(joined.split("#", 1)[0])
    if current.scheme == "https" and following.scheme == "http":
        raise WebRefused(f"{current.url} redirects from https to http; that is not followed")
    return following
