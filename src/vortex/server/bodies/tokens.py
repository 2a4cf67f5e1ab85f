"""The bodies of `/tokenize`, `/detokenize` and `/v1/rerank`. Names as llama.cpp, vLLM, Jina and Cohere have them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AliasChoices, Field

from vortex.errors import RequestError
from vortex.server.bodies.messages import Message
from vortex.server.bodies.reading import Body, Items


class TokenizeBody(Body):
    """A text, or a conversation as the model would read it."""

    model: str | None = None
    content: str | None = Field(default=None, validation_alias=AliasChoices("content", "prompt"))
    messages: Annotated[Items[Message], Field(min_length=1)] | None = None
    parse_special: bool | None = None


class DetokenizeBody(Body):
    tokens: Items[Annotated[int, Field(ge=0, le=2**31 - 1)]]
    model: str | None = None


class RerankBody(Body):
    query: str = Field(min_length=1)
    documents: Annotated[Items[str | dict[str, Any]], Field(min_length=1)]
    model: str | None = None
    top_n: int | None = Field(default=None, ge=1)
    return_documents: bool | None = None

    def texts(self) -> list[str]:
        """RequestError for a document without a text."""
        texts = [one if isinstance(one, str) else one.get("text") for one in self.documents]
        for index, text in enumerate(texts):
            if not isinstance(text, str) or not text:
                raise RequestError("a document is a text, or an object with one", param=f"documents[{index}]")
        return [text for text in texts if isinstance(text, str)]
