"""What a server is told once, when it starts. Plain values; composition fills them from settings and flags."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from vortex.types import SamplingOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Caps on one request, and on how many are served at once. Beyond them: 4xx that names the number."""

    body_bytes: int = 8 * 1024 * 1024
    messages: int = 4096
    tools: int = 128
    choices: int = 16
    schema_depth: int = 32
    schema_bytes: int = 128 * 1024
    embedding_inputs: int = 2048
    concurrent_requests: int = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """`api_key` None: nobody is asked for one. `sampling` fills what a request leaves out; `sampling_of` does for a
    model that it names, None where that says nothing of its own.

    `allowed_hosts`: names beyond IP addresses, localhost and this machine's own that a Host header may carry.
    `allowed_origins`: browser origins that may call (and get CORS headers); none by default.
    `episodes_dir` None: nothing is written down and `/v1/feedback` does not exist.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    sampling_of: Callable[[str], SamplingOptions | None] | None = None
    limits: Limits = Limits()
    episodes_dir: Path | None = None
    drain_s: float = 30.0

    def sampling_for(self, model: str | None) -> SamplingOptions:
        own = self.sampling_of(model) if model is not None and self.sampling_of is not None else None
        return own or self.sampling
