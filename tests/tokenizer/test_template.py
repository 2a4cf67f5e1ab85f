"""Chat templates render as `transformers` renders them, and fail as one line."""

from __future__ import annotations

from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from vortex.errors import ModelFileError, RequestError
from vortex.tokenizer.house import HouseTokenizer
from vortex.tokenizer.template import ChatTemplate

CONVERSATION = [
    {"role": "system", "content": "Be brief.\n"},
    {"role": "user", "content": "  Hi <b> & 'you' \"there\" é世🎉\n\n"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"x": [1, None, "é<"]}}}],
    },
    {"role": "tool", "content": '{"ok": true}'},
]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "b": 1, "a": 2}}}]
SOURCES = [
    "{%- for m in messages %}\n    {{- m.role + ': ' + m['content'] | trim }}\n  {% endfor %}\nend",
    "{% for m in messages if m.content %}{{ m | tojson }}{{ m | tojson(indent=2) }}{% endfor %}",
    "{{ tools | tojson(sort_keys=true) }}{{ tools | tojson(separators=(',', ':')) }}{{ tools is none }}",
    "{% for m in messages %}{% if loop.index == 2 %}{% continue %}{% endif %}{{ m.role }}{% break %}{% endfor %}",
    "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}|{% endfor %}",
    "{%- set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
    "{{ bos_token }}{% if add_generation_prompt %}{{ option | default('none') }}{% endif %}{{ strftime_now('%Y') }}",
    "{{ messages[1].content.strip().split(' ')[-1].startswith('\"') }}{{ documents is none }}",
    "{% for k, v in messages[2].tool_calls[0].function.arguments.items() %}{{ k }}={{ v }}{% endfor %}",
]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("values", [{"option": "low", "bos_token": "<s>"}, {"bos_token": ""}])
def test_text_is_that_of_transformers(source: str, values: dict[str, Any]) -> None:
    for tools in (TOOLS, None):
        expected, _ = render_jinja_template(
            [CONVERSATION], tools=tools, chat_template=source, add_generation_prompt=True, **values
        )
        rendered = ChatTemplate(source).render(CONVERSATION, tools, add_generation_prompt=True, **values)
        assert rendered == expected[0]


def test_the_default_models_own_template(default_tokenizer: HouseTokenizer) -> None:
    source = default_tokenizer.settings.chat_templates["default"]
    for messages in (CONVERSATION[:2], CONVERSATION[1:2], CONVERSATION[:1]):
        for prompt in (True, False):
            expected, _ = render_jinja_template([messages], chat_template=source, add_generation_prompt=prompt)
            assert ChatTemplate(source).render(messages, None, add_generation_prompt=prompt) == expected[0]


def test_a_refusal_carries_the_templates_words() -> None:
    with pytest.raises(RequestError, match="refuses this: roles must alternate") as caught:
        ChatTemplate("{{ raise_exception('roles must alternate') }}").render([], None)
    assert caught.value.param == "messages"


@pytest.mark.parametrize(
    "source", ["{{ messages[9].content }}", "{{ 1 / 0 }}", "{{ ''.__class__.__mro__ }}", "{{ messages.append(1) }}"]
)
def test_failures_and_escapes_are_one_line(source: str) -> None:
    with pytest.raises(RequestError, match="cannot write this conversation") as caught:
        ChatTemplate(source + "{{ unknown.attribute }}").render([{"role": "user"}], None)
    assert "\n" not in str(caught.value)


def test_a_template_that_does_not_compile_is_a_broken_model() -> None:
    with pytest.raises(ModelFileError, match="line 2"):
        ChatTemplate("a\n{% for %}")
