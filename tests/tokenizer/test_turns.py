"""Conversations in the turns that templates take: no system role, strict alternation, ids, and answers begun."""

from __future__ import annotations

import pytest

from tests.tokenizer.test_chat_format import format_of
from vortex.errors import RequestError
from vortex.tokenizer.files import TokenizerFiles
from vortex.tokenizer.turns import folded, plain_id
from vortex.types import ChatMessage, ToolCall, ToolSpec

STRICT = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}"
    "[{{ m.role }}:{{ m.content }}]{% endfor %}"
)
NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "[{{ m.role }}:{{ m.content }}]{% endfor %}"
)
DEAF = "{% for m in messages %}{% if m.role != 'system' %}[{{ m.role }}:{{ m.content }}]{% endif %}{% endfor %}"
NINE = (
    "{% for m in messages %}{% for c in m.tool_calls or [] %}{% if c.id | length != 9 %}"
    "{{ raise_exception('ids are nine letters') }}{% endif %}<{{ c.id }}>{% endfor %}"
    "{% if m.tool_call_id is defined %}<{{ m.tool_call_id }}>{% endif %}{% endfor %}{{ tools and '' }}"
)


def say(role: str, content: str) -> ChatMessage:
    return ChatMessage(role=role, content=content)


@pytest.mark.parametrize("template", [STRICT, NO_SYSTEM, DEAF])
def test_the_systems_words_reach_the_model(default_files: TokenizerFiles, template: str) -> None:
    chat_format = format_of(default_files, template)
    talk = [say("system", "Answer briefly"), say("user", "Hello there"), say("assistant", "Yes"), say("user", "Why?")]
    text = chat_format.render(talk)
    assert text == "[user:Answer briefly\n\nHello there][assistant:Yes][user:Why?]"
    late = chat_format.render([say("user", "Hello"), say("system", "Remember Spanish"), say("user", "Why?")])
    assert "Remember Spanish" in late
    assert chat_format.render([say("system", "Alone here")]) == "[user:Alone here]"


def test_neighbours_are_joined_and_the_user_comes_first(default_files: TokenizerFiles) -> None:
    chat_format = format_of(default_files, STRICT)
    assert chat_format.render([say("user", "a"), say("user", "b")]) == "[user:a\n\nb]"
    assert chat_format.render([say("assistant", "Hi"), say("user", "b")]) == "[user:][assistant:Hi][user:b]"


def test_tools_are_told_where_there_is_no_system_role(default_files: TokenizerFiles) -> None:
    call = ToolCall(id="call_1", name="add", arguments='{"a": 1}')
    talk = [
        say("system", "Be kind"),
        say("user", "Add one"),
        ChatMessage(role="assistant", tool_calls=(call,)),
        ChatMessage(role="tool", content="2", tool_call_id="call_1"),
        say("user", "And now?"),
    ]
    text = format_of(default_files, STRICT).render(talk, [ToolSpec(name="add")])
    assert text.startswith("[user:Be kind\n\nYou can call functions")
    assert text.index('<tool_call>\n{"name": "add"') < text.index("<tool_response>\n2") < text.index("And now?")


@pytest.mark.parametrize("foreign", ["call_0123456789abcdef01234567", "toolu_x", "functions.add:0", "é", "abcDEF123"])
def test_ids_of_every_maker_are_taken(default_files: TokenizerFiles, foreign: str) -> None:
    call = ToolCall(id=foreign, name="add", arguments="{}")
    talk = [
        say("user", "x"),
        ChatMessage(role="assistant", tool_calls=(call,)),
        ChatMessage(role="tool", content="2", tool_call_id=foreign),
    ]
    text = format_of(default_files, NINE).render(talk, [ToolSpec(name="add")])
    assert text == f"<{plain_id(foreign)}>" * 2
    assert plain_id(plain_id(foreign)) == plain_id(foreign)


def test_what_a_template_takes_is_left_alone() -> None:
    talk = [say("user", "a"), say("assistant", "b"), say("user", "c")]
    assert folded(talk) == talk


def test_an_answer_that_is_begun_is_continued(default_files: TokenizerFiles) -> None:
    chat_format = format_of(default_files, None)
    talk = [say("user", "Capital of France?"), say("assistant", "The capital is")]
    for options in ({}, {"continue_final_message": True}):
        assert chat_format.render(talk, **options).endswith("<|im_start|>assistant\nThe capital is")
    for options in ({"add_generation_prompt": True}, {"continue_final_message": False}):
        assert chat_format.render(talk, **options).endswith("The capital is<|im_end|>\n<|im_start|>assistant\n")
    with pytest.raises(RequestError, match="cannot be continued"):
        format_of(default_files, "{{ messages[0].content }}").render(talk)
