"""The body of `/v1/completions`: a prompt continued, without a chat template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from vortex.errors import RequestError
from vortex.server.bodies.reading import Items
from vortex.server.bodies.sampling import MAX_TOKENS, SamplingBody
from vortex.server.options import ServerOptions
from vortex.types import ChatRequest

DEFAULT_MAX_TOKENS = 16  # OpenAI's, for this endpoint alone
TokenIds = Annotated[Items[Annotated[int, Field(ge=0, le=MAX_TOKENS)]], Field(min_length=1)]


class CompletionBody(SamplingBody):
    prompt: (
        str | TokenIds | Annotated[Items[str], Field(min_length=1)] | Annotated[Items[TokenIds], Field(min_length=1)]
    )
    logprobs: int | None = Field(default=None, ge=0, le=20)
    best_of: int | None = None
    echo: bool | None = None
    suffix: str | None = None

    refused: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("grammar", "guided_json", "guided_regex", "guided_choice", "guided_grammar", "json_schema", "response_format"),
        "a plain completion is not constrained; send it to /v1/chat/completions with 'response_format'",
    )

    def to_requests(self, request_id: str, options: ServerOptions) -> list[ChatRequest]:
        """One request per prompt. RequestError for what cannot be served."""
        if self.echo and self.suffix:
            raise RequestError("'echo' and 'suffix' do not go together", param="echo")
        if self.best_of not in (None, self.n or 1):
            raise RequestError("'best_of' must equal 'n': choices are not ranked", param="best_of")
        prompts = self._prompts()
        num_choices = self.num_choices(options.limits.choices)
        if len(prompts) * num_choices > options.limits.choices:
            reason = (
                f"{len(prompts)} prompts of {num_choices} choices; this server gives {options.limits.choices} at once"
            )
            raise RequestError(reason, param="prompt")
        return [
            ChatRequest(
                request_id=request_id if len(prompts) == 1 else f"{request_id}-{index}",
                model=self.model,
                prompt=prompt,
                suffix=self.suffix or None,
                sampling=self.sampling(options.sampling_for(self.model)),
                max_tokens=DEFAULT_MAX_TOKENS if self.max_tokens is None else self.max_tokens,
                echo=bool(self.echo),
                min_tokens=self.min_tokens or 0,
                ignore_eos=bool(self.ignore_eos),
                stop=self.stop_strings(),
                num_choices=num_choices,
                top_logprobs=self.logprobs,
            )
            for index, prompt in enumerate(prompts)
        ]

    def _prompts(self) -> list[str | tuple[int, ...]]:
        if isinstance(self.prompt, str):
            return [self.prompt]
        ids = [item for item in self.prompt if isinstance(item, int)]
        if ids:
            return [tuple(ids)]
        return [item if isinstance(item, str) else tuple(item) for item in self.prompt if not isinstance(item, int)]
