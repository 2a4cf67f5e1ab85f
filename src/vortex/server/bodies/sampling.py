"""Sampling fields that chat and plain completions share, and how they become SamplingOptions."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from vortex.errors import RequestError
from vortex.server.bodies.reading import Body, FewKeys, Items, Part
from vortex.types import SamplingOptions

Bias = Annotated[float, Field(ge=-100, le=100)]
StopString = Annotated[str, Field(min_length=1, max_length=1024)]
MAX_TOKENS = 2**31 - 1
SAME_NAMES = (
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
)


class StreamOptions(Part):
    include_usage: bool | None = None


class SamplingBody(Body):
    model: str | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1, le=MAX_TOKENS)
    min_p: float | None = Field(default=None, ge=0, le=1)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    repetition_penalty: float | None = Field(default=None, gt=0, le=10)
    logit_bias: Annotated[dict[str, Bias], Field(max_length=1024), FewKeys] | None = None
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    n: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=-1, le=MAX_TOKENS)  # -1: no limit, as llama.cpp has it
    min_tokens: int | None = Field(default=None, ge=0, le=MAX_TOKENS)
    ignore_eos: bool | None = None
    stop: StopString | Annotated[Items[StopString], Field(max_length=16)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with a chunk of usage."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def stop_strings(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    def num_choices(self, limit: int) -> int:
        if (self.n or 1) > limit:
            raise RequestError(f"'n' is {self.n}; this server gives at most {limit} choices", param="n")
        return self.n or 1

    def sampling(self, defaults: SamplingOptions) -> SamplingOptions:
        """What the request says over what the server was started with."""
        given: dict[str, Any] = {name: getattr(self, name) for name in SAME_NAMES if getattr(self, name) is not None}
        if given.get("top_k") == -1:  # vLLM's spelling of no limit
            given["top_k"] = 0
        if "repetition_penalty" in given:  # a client's own means what it means everywhere: the prompt counts
            given["penalty_reads_prompt"] = True
        if self.logit_bias:
            given["logit_bias"] = {_token_id(key): bias for key, bias in self.logit_bias.items()}
        return replace(defaults, **given)


def _token_id(key: str) -> int:
    if not (key.isascii() and key.isdigit() and len(key) < 10):
        raise RequestError(f"'logit_bias' has the key {key!r}; keys are token ids", param="logit_bias")
    return int(key)
