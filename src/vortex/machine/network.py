"""The one gate to the network: whoever is about to reach another machine asks here first.

`C3RNT2_NO_NET=1` closes it for the whole program. Addresses of this machine are no network.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from vortex.errors import MissingCapability

VARIABLE = "C3RNT2_NO_NET"
NO = frozenset({"", "0", "false", "no", "off"})


LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def is_local(url: str) -> bool:
    """Whether an address is of this machine, by the host that it names."""
    return (urlsplit(url).hostname or "") in LOOPBACK


def is_closed(environment: Mapping[str, str] | None = None) -> bool:
    """Whether the environment forbids the network."""
    return (os.environ if environment is None else environment).get(VARIABLE, "").strip().lower() not in NO


def ask_network(purpose: str) -> None:
    """Raises MissingCapability, with what it was for and how to allow it, where the network is forbidden."""
    if is_closed():
        raise MissingCapability(f"{purpose} needs the network, and {VARIABLE}=1 forbids it; unset it to allow that")
