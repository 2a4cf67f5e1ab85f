"""The short bodies: embeddings, feedback, and the name of a model to close."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, Field

from vortex.errors import RequestError
from vortex.server.bodies.reading import Body, Items

MAX_TEXT_CHARS = 2_000_000


class EmbeddingBody(Body):
    """Token ids are not taken as input: they would be another tokenizer's."""

    input: (
        str
        | Annotated[Items[str], Field(min_length=1)]
        | Annotated[Items[int], Field(min_length=1)]
        | Items[Items[int]]
    )
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(default=None, ge=1)

    def texts(self) -> list[str]:
        """RequestError for token ids."""
        texts = [self.input] if isinstance(self.input, str) else self.input
        if not texts:
            raise RequestError("'input' is empty; send at least one text", param="input")
        if not all(isinstance(text, str) for text in texts):
            raise RequestError(
                "'input' holds token ids, which belong to a client's tokenizer and not to this model; send text "
                "(LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False))",
                param="input",
                code="unsupported_input",
            )
        return [text for text in texts if isinstance(text, str)]


class FeedbackBody(Body):
    """`id` is another name for `request_id`: the answer's own id is the same string."""

    request_id: str = Field(min_length=1, max_length=128, validation_alias=AliasChoices("request_id", "id"))
    rating: Literal["up", "down"]
    ideal_response: str | None = Field(default=None, max_length=MAX_TEXT_CHARS)


class UnloadBody(Body):
    model: str = Field(min_length=1, max_length=512)
