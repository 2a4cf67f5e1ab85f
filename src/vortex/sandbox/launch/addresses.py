"""Is this address out on the public internet, whatever way it is written?

Allows what is known to be public and refuses the rest: private, loopback, link-local, shared (CGNAT), documentation,
benchmark, multicast and reserved ranges; addresses of cloud metadata that lie in public ranges; IPv6 forms that carry
an IPv4 address inside (mapped, compatible, 6to4, Teredo, NAT64, ISATAP); and every address of this machine itself.
Source: IANA's special-purpose address registries, RFC 6890, 6052, 4291, 3056, 4380, 5214.
"""

from __future__ import annotations

import ipaddress
import socket

REFUSED_4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
        "168.63.129.16/32",  # a cloud's host agent, in a public range
    )
)  # fmt: skip
PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
REFUSED_6 = tuple(
    ipaddress.IPv6Network(text)
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)
ISATAP = (0x00005EFE, 0x02005EFE)


def why_not_public(text: str) -> str | None:
    """None for a public address, else what it is; text that is no plain address is refused too."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return f"{text!r} is not an address"
    if isinstance(address, ipaddress.IPv4Address):
        for network in REFUSED_4:
            if address in network:
                return f"{address} lies in {network}, which is not public"
    else:
        if address.scope_id is not None:
            return f"{address} names an interface of this machine"
        if address not in PUBLIC_6:
            return f"{address} is not a public IPv6 address"
        for network_6 in REFUSED_6:
            if address in network_6:
                return f"{address} lies in {network_6}, which is not public"
        if (int(address) >> 32) & 0xFFFFFFFF in ISATAP:
            return f"{address} carries an IPv4 address"
    return f"{address} belongs to this machine" if _own(address) else None


def _own(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """An address can be bound only where it is the machine's own."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def resolve(host: str, port: int) -> list[str]:
    """Every address of a name, in the system's order."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def checked_addresses(host: str, port: int, addresses: list[str]) -> list[str]:
    """The addresses, when every one of them is public. One bad one refuses them all: a name that mixes is a trick.

    Raises PermissionError with the reason.
    """
    if not addresses:
        raise PermissionError(f"{host} has no address")
    for address in addresses:
        reason = why_not_public(address)
        if reason:
            raise PermissionError(f"{host}:{port} leads to {reason}")
    return addresses
