"""A model's chat template: Jinja source to text, in a sandbox.

Templates come with models, so they are foreign code: they run in Jinja's immutable sandbox, without files, imports or
Python objects beyond plain values, and within bounds on steps, output and time (template_limits.py). Promises the text
that `transformers` renders from the same source and values.
Does not make tokens: see chat_format.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser

from vortex.errors import ModelFileError, RequestError
from vortex.tokenizer.template_limits import BoundedEnvironment, TemplateTooCostly

MAX_SOURCE_CHARS = 512 * 1024


class TemplateRefusal(TemplateError):
    """A template called `raise_exception`."""


class _GenerationTag(Extension):
    """`{% generation %}` marks an assistant's words for training masks; the text inside is rendered as it is."""

    tags = {"generation"}  # noqa: RUF012  (Jinja's own declaration)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own filter escapes HTML, which no model was trained on."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise TemplateRefusal(message)


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)


def _environment() -> BoundedEnvironment:
    # Autoescaping is for HTML; a prompt is plain text.
    environment = BoundedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, loopcontrols])
    environment.filters["tojson"] = _to_json
    environment.bound_filters()
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


class ChatTemplate:
    """One compiled template. Raises ModelFileError for a source that does not compile."""

    def __init__(self, source: str) -> None:
        if len(source) > MAX_SOURCE_CHARS:
            raise ModelFileError(f"the model's chat template is longer than {MAX_SOURCE_CHARS} characters")
        self._environment = _environment()
        try:
            self._template = self._environment.from_string(source)
        except TemplateSyntaxError as error:
            raise ModelFileError(
                f"the model's chat template does not compile (line {error.lineno}: {error.message})"
            ) from error
        except (RecursionError, TemplateError, SyntaxError, ValueError, MemoryError) as error:
            raise ModelFileError(f"the model's chat template cannot be compiled ({type(error).__name__})") from error
        self.knows_tools = "tools" in source

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None,
        **values: object,
    ) -> str:
        """The conversation as text. `values`: special tokens, add_generation_prompt and a template's own options.

        Raises RequestError where the template refuses the conversation or cannot handle it.
        """
        self._environment.begin()
        try:
            return self._template.render(messages=messages, tools=tools, documents=None, **values)
        except TemplateRefusal as error:
            raise RequestError(f"the model's chat template refuses this: {error.message}", param="messages") from error
        except (TemplateTooCostly, RecursionError, MemoryError) as error:
            reason = str(error) if isinstance(error, TemplateTooCostly) else type(error).__name__
            raise RequestError(
                f"the model's chat template asks for too much ({reason}); serve another file of the model",
                param="messages",
                code="template_too_costly",
            ) from error
        except (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise RequestError(
                f"the model's chat template cannot write this conversation: {error}", param="messages"
            ) from error
