"""From a request to the constraint its tokens obey: a JSON schema, or tools to be called.

An engine takes `StructuredDecoding.constrain` as its constraint factory and `read_answer` as its reader factory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vortex.decode.constraint import TokenConstraint
from vortex.decode.structure.grammar import GrammarConstraint
from vortex.decode.structure.json_grammar import growth_tokens, lark_json, object_schema
from vortex.decode.structure.tool_grammar import FreeUntilCall, calls_constraint
from vortex.decode.structure.tool_reader import ToolCallReader
from vortex.decode.structure.vocabulary import GrammarVocabulary
from vortex.errors import RequestError
from vortex.protocols import Tokenizer
from vortex.types import ChatRequest


class StructuredDecoding:
    """One per model. Safe to use from several threads; the first request that needs a grammar reads the vocabulary."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._vocabulary = GrammarVocabulary(tokenizer)

    def constrain(self, request: ChatRequest, max_tokens: int) -> TokenConstraint | None:
        """What an answer of at most `max_tokens` must obey; None for free text.

        Raises RequestError for a schema that cannot be used, and where the limit is too small for any valid answer.
        """
        if request.tools and request.tool_choice not in ("none", "auto"):
            wanted = [tool for tool in request.tools if request.tool_choice in ("required", tool.name)]
            parallel = request.parallel_tool_calls and request.tool_choice == "required"
            return calls_constraint(wanted, self._vocabulary, parallel=parallel, max_tokens=max_tokens)
        if request.json_schema is not None:
            return self._json(request.json_schema, max_tokens)
        if request.tools and request.tool_choice == "auto":
            parallel = request.parallel_tool_calls
            return FreeUntilCall(request.tools, self._vocabulary, parallel=parallel, max_tokens=max_tokens)
        return None

    def read_answer(self, request: ChatRequest) -> ToolCallReader | None:
        """What turns calls in the answer's text into events; None where there can be none."""
        return ToolCallReader(request) if request.tools and request.tool_choice != "none" else None

    def _json(self, schema: Mapping[str, Any], max_tokens: int) -> GrammarConstraint:
        schema = object_schema(schema)
        try:
            matcher = self._vocabulary.matcher(f"start: value\nvalue: {lark_json(schema)}\n")
            growth = growth_tokens(schema)
            return GrammarConstraint(matcher, self._vocabulary, max_tokens=max_tokens, growth_tokens=growth)
        except RequestError as error:
            raise RequestError(str(error), param=error.param or "response_format", code=error.code) from None
