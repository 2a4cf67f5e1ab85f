"""Tool calls in an answer's text: the form that is asked for, and the constraint that keeps calls valid.

    <tool_call>
    {"name": "a tool's name", "arguments": {…}}
    </tool_call>

The form is the one that prompts describe (`tokenizer/tool_prompt.py`) and that Hermes and Qwen models were trained
on. Where a call is required the answer is calls and nothing else; where it is free, text is unconstrained until a
call opens, and from there on a grammar holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vortex.decode.structure.grammar import GrammarConstraint
from vortex.decode.structure.json_grammar import lark_json
from vortex.decode.structure.vocabulary import GrammarVocabulary

OPENING = "<tool_call>"
CLOSING = "</tool_call>"
MAX_PARALLEL_CALLS = 8
NO_PARAMETERS = {"type": "object", "properties": {}, "additionalProperties": False}


@dataclass(frozen=True, slots=True)
class ToolForm:
    """A tool's name and the schema that its arguments are held to."""

    name: str
    schema: Mapping[str, Any]


def calls_rules(tools: Sequence[ToolForm], *, parallel: bool) -> str:
    """Lark rules: `calls` for one call or several, `opened` for the same behind the first opening tag."""
    again = f"more{{0,{MAX_PARALLEL_CALLS - 1}}}" if parallel else ""
    rules = [
        f"calls: open call {again}",
        f"opened: call {again}",
        'more: "\\n"? open call',
        f'open: "{OPENING}"',
        f'call: "\\n"? body "\\n"? "{CLOSING}"',
        f"body: {' | '.join(f'body_{index}' for index in range(len(tools)))}",
    ]
    for index, tool in enumerate(tools):
        head = json.dumps(f'{{"name": {json.dumps(tool.name)}, "arguments": ')
        rules += [f'body_{index}: {head} arguments_{index} "}}"', f"arguments_{index}: {lark_json(tool.schema)}"]
    return "\n".join(rules) + "\n"


class FreeUntilCall:
    """A TokenConstraint for answers that may hold calls: everything goes until a call opens.

    calls: what holds behind an opening tag, compiled before the answer began. A call that could no longer be finished
    within the limit is not begun: the answer ends before it.
    """

    def __init__(self, calls: GrammarConstraint, vocabulary: GrammarVocabulary, *, max_tokens: int) -> None:
        self.notes = calls.notes
        self._opened = calls
        self._vocabulary = vocabulary
        self._left_tokens = max_tokens
        self._tail = b""  # the last bytes, in which an opening tag may begin
        self._calls: GrammarConstraint | None = None

    def mask(self) -> np.ndarray | None:
        return self._calls.mask() if self._calls is not None else None

    def settle(self, token_id: int) -> int:
        if self._calls is not None:
            return self._calls.settle(token_id)
        if not self._opens(token_id):
            return token_id
        return token_id if self._calls_after(token_id) is not None else self._vocabulary.end_id

    def advance(self, token_id: int) -> None:
        if self._calls is not None:
            self._calls.advance(token_id)
            return
        if self._opens(token_id):
            self._calls = self._calls_after(token_id)
        self._tail = (self._tail + self._vocabulary.token_bytes(token_id))[-len(OPENING) :]
        self._left_tokens -= 1

    @property
    def is_finished(self) -> bool:
        return self._calls is not None and self._calls.is_finished

    def copy(self) -> FreeUntilCall:
        twin = FreeUntilCall.__new__(FreeUntilCall)
        twin.__dict__.update(self.__dict__)
        twin._calls = self._calls.copy() if self._calls is not None else None
        return twin

    @property
    def least_tokens(self) -> int:
        """An answer without calls may be as short as it likes."""
        return 0

    def limited_to(self, max_tokens: int) -> FreeUntilCall:
        """A copy that stands at its beginning, with another limit."""
        assert self._calls is None, "no call was opened"
        twin = self.copy()
        twin._left_tokens, twin._tail = max_tokens, b""
        return twin

    def _opens(self, token_id: int) -> bool:
        return OPENING.encode() in self._tail[1 - len(OPENING) :] + self._vocabulary.token_bytes(token_id)

    def _calls_after(self, token_id: int) -> GrammarConstraint | None:
        """What holds after the token that completes an opening tag; None where no call can follow."""
        text = self._tail[1 - len(OPENING) :] + self._vocabulary.token_bytes(token_id)
        calls = self._opened.limited_to(self._left_tokens - 1)
        return calls if calls.begin_with(text.split(OPENING.encode(), 1)[1]) else None
