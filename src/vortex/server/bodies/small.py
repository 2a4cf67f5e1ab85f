"""The short bodies: embeddings and feedback."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, Field

from vortex.server.bodies.reading import Body

MAX_TEXT_CHARS = 2_000_000


class EmbeddingBody(Body):
    """Token ids are not taken as input: texts are."""

    input: str | Annotated[list[str], Field(min_length=1)]
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(default=None, ge=1)

    @property
    def texts(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else self.input


class FeedbackBody(Body):
    """`id` is another name for `request_id`: the answer's own id is the same string."""

    request_id: str = Field(min_length=1, max_length=128, validation_alias=AliasChoices("request_id", "id"))
    rating: Literal["up", "down"]
    ideal_response: str | None = Field(default=None, max_length=MAX_TEXT_CHARS)
