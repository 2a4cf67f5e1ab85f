"""From a request to the constraint its tokens obey: a JSON schema, or tools to be called.

An engine takes `StructuredDecoding.constrain` as its constraint factory and `read_answer` as its reader factory.
Schemas are read, compiled and searched for a way out once; the last ones are kept, since clients send the same again
and again.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from vortex.decode.constraint import TokenConstraint
from vortex.decode.forms.families import HARMONY_ANSWER, HARMONY_FINAL, HARMONY_THOUGHT, HERMES
from vortex.decode.forms.form import AnswerForm
from vortex.decode.forms.reader import FormReader
from vortex.decode.structure.closing import MAX_BYTES, Hints
from vortex.decode.structure.enforceable import Kept, enforceable, weakened
from vortex.decode.structure.grammar import Compiled, GrammarConstraint
from vortex.decode.structure.json_grammar import growth_tokens, lark_json, least_bytes, object_schema
from vortex.decode.structure.patterns import factors_of, patterns_of, required_of
from vortex.decode.structure.thinking_limit import Limited, ThinkingLimit, ThinkingWords
from vortex.decode.structure.tool_grammar import NO_PARAMETERS, FreeUntilCall, ToolForm, calls_rules
from vortex.decode.structure.vocabulary import GrammarVocabulary
from vortex.errors import RequestError
from vortex.protocols import Tokenizer
from vortex.types import ChatRequest, ToolSpec

KEPT_GRAMMARS = 64
LEAST_PRIORITY = 4  # no further back: what hardly runs and holds Python's lock holds up everybody on a busy machine
MAX_PATTERNS = 1024  # of a schema, that a search for its way out knows
MAX_FACTORS = 8
ANY_OBJECT = {"type": "object"}


class StructuredDecoding:
    """One per model. Safe to use from several threads; the first request that needs a grammar reads the vocabulary, if
    `warm_up` has not."""

    def __init__(self, tokenizer: Tokenizer, form: AnswerForm = HERMES) -> None:
        self._tokenizer = tokenizer
        self._form = form
        self._vocabulary = GrammarVocabulary(tokenizer)
        self._compiler = ThreadPoolExecutor(1, "vortex-grammar", initializer=_step_back)  # the cores are the model's
        self._lock = threading.Lock()  # guards `_kept`
        self._kept: OrderedDict[str, Compiled | RequestError] = OrderedDict()

    def warm_up(self) -> None:
        """Read the vocabulary now, on the compiler's thread: the first such request, and who answers beside it, would
        wait for it. Returns at once."""
        self._compiler.submit(self._vocabulary.ready)

    def constrain(self, request: ChatRequest, max_tokens: int, prompt_tail: str = "") -> TokenConstraint | None:
        """What an answer of at most `max_tokens` must obey; None for free text. prompt_tail: the end of the prompt.

        Raises RequestError for a schema that cannot be used, and where the limit is too small for any valid answer.
        """
        answer = self._answer_rules(request, max_tokens)
        words = self._thinking_words()
        is_open = self._form.harmony or any(marks.is_open(prompt_tail) for marks in self._form.thinking)
        if words is None or (request.thinking_tokens is None and (answer is None or not is_open)):
            return answer
        budget = request.thinking_tokens
        return ThinkingLimit(words, answer, max_tokens=max_tokens, budget=budget, is_open=is_open)

    def _thinking_words(self) -> ThinkingWords | None:
        if self._form.harmony:
            opening, closing, ending = HARMONY_THOUGHT, HARMONY_ANSWER, HARMONY_FINAL
        elif self._form.thinking:
            marks = self._form.thinking[0]
            opening, closing, ending = marks.opening, marks.closing, marks.ending
        else:
            return None
        ending_ids = self._tokenizer.encode(ending, special=True)
        return ThinkingWords(opening.encode(), closing.encode(), ending_ids, self._tokenizer.token_bytes)

    def _answer_rules(self, request: ChatRequest, max_tokens: int) -> Limited | None:
        may_call = bool(request.tools) and request.tool_choice != "none"
        if may_call and request.tool_choice != "auto":
            wanted = [tool for tool in request.tools if request.tool_choice in ("required", tool.name)]
            parallel = request.parallel_tool_calls and request.tool_choice == "required"
            return self._blaming("tools", lambda: self._limited(self._calls(wanted, "calls", parallel), max_tokens))
        if request.json_schema is not None:
            tools = request.tools if may_call else ()
            return self._blaming("response_format", lambda: self._limited(self._answer(request, tools), max_tokens))
        if may_call and self._form.name == HERMES.name:
            return self._blaming("tools", lambda: self._free(request, max_tokens))
        return None  # families with a form of their own write it freely; what they write is read

    def read_answer(self, request: ChatRequest, prompt_tail: str = "") -> FormReader | None:
        """What turns thoughts and calls in the answer's text into events; None where there can be none."""
        may_call = bool(request.tools) and request.tool_choice != "none"
        if not may_call and not (self._form.thinks and request.messages):
            return None
        is_held = request.json_schema is not None or (may_call and request.tool_choice != "auto")
        form = self._form
        if is_held and not form.harmony:  # by our grammar, which speaks one form
            form = replace(HERMES, thinking=form.thinking)
        return FormReader(request, form, prompt_tail)

    def _blaming(self, param: str, make: Callable[[], Limited]) -> Limited:
        try:
            return make()
        except RequestError as error:
            raise RequestError(str(error), param=error.param or param, code=error.code) from None

    def _limited(self, compiled: Compiled, max_tokens: int) -> GrammarConstraint:
        return GrammarConstraint(compiled, self._vocabulary, max_tokens=max_tokens)

    def _free(self, request: ChatRequest, max_tokens: int) -> FreeUntilCall:
        compiled = self._calls(request.tools, "opened", request.parallel_tool_calls)
        calls = GrammarConstraint(compiled, self._vocabulary, max_tokens=2**31)
        return FreeUntilCall(calls, self._vocabulary, max_tokens=max_tokens)

    def _calls(self, tools: Sequence[ToolSpec], start: str, parallel: bool) -> Compiled:
        key = json.dumps([start, parallel, [[t.name, t.strict, t.parameters] for t in tools]], sort_keys=True)

        def compiled() -> Compiled:
            forms, kept = self._forms(tools)
            return self._read(f"start: {start}\n{calls_rules(forms, parallel=parallel)}", kept)

        return self._once(key, compiled)

    def _answer(self, request: ChatRequest, tools: Sequence[ToolSpec]) -> Compiled:
        """An answer that fits the schema; with tools, or calls of them."""
        schema = object_schema(request.json_schema or {})
        described = [[tool.name, tool.strict, tool.parameters] for tool in tools]
        key = json.dumps([schema, request.strict_schema, request.parallel_tool_calls, described], sort_keys=True)

        def compiled() -> Compiled:
            kept = self._enforced(schema, strict=request.strict_schema)
            value = f"value: {lark_json(kept.schema)}\n"
            if not tools:
                return self._read(f"start: value\n{value}", kept)
            forms, in_tools = self._forms(tools)
            both = Kept({"answer": kept.schema, **in_tools.schema}, [*kept.notes, *in_tools.notes])
            rules = calls_rules(forms, parallel=request.parallel_tool_calls)
            return self._read(f"start: value | calls\n{value}{rules}", both)

        return self._once(key, compiled)

    def _forms(self, tools: Sequence[ToolSpec]) -> tuple[list[ToolForm], Kept]:
        """The tools with the schemas of their arguments, and these together."""
        forms, notes = [], []
        for tool in tools:
            kept = Kept(NO_PARAMETERS)
            if tool.parameters:
                try:
                    kept = self._enforced(tool.parameters, strict=tool.strict)
                except RequestError as error:
                    raise RequestError(f"tool {tool.name!r}: {error}", code=error.code) from None
            types = kept.schema.get("type", "object")
            if "object" not in ([types] if isinstance(types, str) else types):
                kept.notes.append(f"'type' at the top is not enforced: arguments are an object, not {types}")
                kept.schema = ANY_OBJECT
            elif "$ref" not in kept.schema:
                as_object = {**kept.schema, "type": "object"}
                if kept.schema.get("type") != "object" and not self._fits(as_object):
                    kept.notes.append("the top of the schema is not enforced: arguments are an object")
                    as_object = ANY_OBJECT
                kept.schema = as_object
            forms.append(ToolForm(tool.name, kept.schema))
            notes += [f"tool {tool.name!r}: {note}" for note in kept.notes]
        return forms, Kept({str(index): form.schema for index, form in enumerate(forms)}, notes)

    def _enforced(self, schema: Mapping[str, Any], *, strict: bool) -> Kept:
        """What the library can read of a schema. RequestError for a strict one that asks for more."""
        kept = enforceable(schema, strict=strict)
        if least_bytes(kept.schema) > MAX_BYTES:
            reason = f"every valid answer to the schema is longer than {MAX_BYTES} bytes; lower minItems and minLength"
            raise RequestError(reason, code="invalid_schema")
        if self._fits(kept.schema):
            return kept
        blamed: list[str] = []
        weaker = weakened(kept.schema, self._fits, blamed)
        if strict:
            culprit = blamed[0].removesuffix(" is not enforced") if blamed else "its parts contradict, or are too large"
            raise RequestError(f"the schema cannot be enforced: {culprit}", code="invalid_schema")
        kept.notes += blamed
        if blamed and self._fits(weaker):
            return Kept(weaker, kept.notes)
        kept.notes.append("the schema's parts contradict each other or are too large: only that it is JSON is enforced")
        return Kept(dict(ANY_OBJECT) if _is_object(kept.schema) else {}, kept.notes)

    def _fits(self, schema: Mapping[str, Any]) -> bool:
        try:
            self._vocabulary.bytes_matcher(f"start: value\nvalue: {lark_json(schema)}\n")
        except RequestError:
            return False
        return True

    def _read(self, grammar: str, kept: Kept) -> Compiled:
        patterns = tuple(dict.fromkeys(patterns_of(kept.schema)))[:MAX_PATTERNS]
        factors = tuple(dict.fromkeys(factors_of(kept.schema)))[:MAX_FACTORS]
        hints = Hints(patterns, factors, tuple(dict.fromkeys(required_of(kept.schema))))
        return Compiled.read(grammar, self._vocabulary, hints, growth_tokens(kept.schema), tuple(kept.notes))

    def _once(self, key: str, make: Callable[[], Compiled]) -> Compiled:
        """What `make` gave, or raised, the first time."""
        found = self._look(key)
        if found is None:
            found = self._compiler.submit(lambda: self._look(key) or self._keep(key, make)).result()
        if isinstance(found, RequestError):
            raise RequestError(str(found), param=found.param, code=found.code)
        return found

    def _look(self, key: str) -> Compiled | RequestError | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _keep(self, key: str, make: Callable[[], Compiled]) -> Compiled | RequestError:
        made: Compiled | RequestError
        try:
            made = make()
        except RequestError as error:
            made = error
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > KEPT_GRAMMARS:
                self._kept.popitem(last=False)
        return made


def _step_back() -> None:
    """This thread gets what the model's threads leave. Where a thread has no priority of its own nothing happens."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LEAST_PRIORITY)


def _is_object(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "object" or "properties" in schema
