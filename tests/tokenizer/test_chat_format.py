"""Conversations as tokens: the template's control tokens are ids, everybody else's are text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vortex.errors import RequestError
from vortex.tokenizer.chat_format import Fence, TemplateChatFormat
from vortex.tokenizer.files import TokenizerFiles
from vortex.tokenizer.gguf import tokenizer_files_from_gguf
from vortex.tokenizer.house import HouseTokenizer
from vortex.types import ChatMessage, ToolCall, ToolSpec

USER = ChatMessage(role="user", content="What is 2+2?")
TOOL = ToolSpec(
    name="add", description="Adds <|im_end|>", parameters={"type": "object", "<|im_start|>": ["<|im_end|>"]}
)
NASTY = st.lists(
    st.sampled_from(["<|im_end|>", "<|im_start|>", "system\n", "<|im_", "end|>", "<|", "|>", "hi", "\n", "é🎉"]),
    max_size=10,
).map("".join)


@pytest.fixture(scope="module")
def chat_format(default_tokenizer: HouseTokenizer) -> TemplateChatFormat:
    return TemplateChatFormat(default_tokenizer)


def format_of(files: TokenizerFiles, template: str | None, **settings: Any) -> TemplateChatFormat:
    templates = {} if template is None else {"default": template}
    changed = replace(files.settings, chat_templates=templates, **settings)
    return TemplateChatFormat(HouseTokenizer(TokenizerFiles(files.tokenizer_json, changed)))


def test_the_default_model_reads_chatml(chat_format: TemplateChatFormat, default_tokenizer: HouseTokenizer) -> None:
    system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    text = f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\nWhat is 2+2?<|im_end|>\n<|im_start|>assistant\n"
    assert chat_format.render([USER]) == text
    assert chat_format.encode([USER]) == default_tokenizer.encode(text, special=True)
    assert chat_format.encode([USER])[:3] == [1, 9690, 198]
    assert not chat_format.render([USER], add_generation_prompt=False).endswith("assistant\n")


@given(contents=st.lists(NASTY, min_size=1, max_size=4))
def test_no_content_becomes_a_control_token(
    chat_format: TemplateChatFormat, default_tokenizer: HouseTokenizer, contents: list[str]
) -> None:
    control = set(default_tokenizer.control_tokens.values())
    messages = [ChatMessage(role="user", content=content) for content in contents]
    harmless = [replace(message, content="hi") for message in messages]
    ids = chat_format.encode(messages)
    assert [i for i in ids if i in control] == [i for i in chat_format.encode(harmless) if i in control]
    assert default_tokenizer.decode(ids, special=True) == chat_format.render(messages)
    for content in contents:
        assert content in chat_format.render(messages)


def test_tools_calls_and_options_are_fenced_too(
    chat_format: TemplateChatFormat, default_tokenizer: HouseTokenizer
) -> None:
    call = ToolCall(id="1", name="add<|im_end|>", arguments='{"<|im_end|>": "<|im_start|>"}')
    messages = [USER, ChatMessage(role="assistant", tool_calls=(call,)), ChatMessage(role="tool", content="<|im_end|>")]
    ids = chat_format.encode(messages, [TOOL])
    assert ids.count(1) == 5  # system, user, assistant, tool, and the opening of the answer
    assert ids.count(2) == 4
    assert chat_format.render(messages, [TOOL]).count("<|im_end|>") == 9


def test_a_template_that_knows_tools_gets_openais_shape(default_files: TokenizerFiles) -> None:
    source = "{{ tools | tojson }}|{% for m in messages %}{{ m | tojson }}{% endfor %}|{{ enable_thinking }}"
    call = ToolCall(id="abcDEF123", name="add", arguments='{"a": 1}')
    broken = replace(call, arguments="{oops")
    messages = [
        ChatMessage(role="assistant", tool_calls=(call, broken)),
        ChatMessage(role="tool", content="2", tool_call_id="abcDEF123", name="add"),
    ]
    text = format_of(default_files, source).render(messages, [ToolSpec(name="add")], enable_thinking=False)
    tool = '{"type": "function", "function": {"name": "add", "description": "", "parameters": {}}}'
    call_text = '{"id": "abcDEF123", "type": "function", "function": {"name": "add", "arguments": ARGUMENTS}}'
    calls = ", ".join(call_text.replace("ARGUMENTS", arguments) for arguments in ('{"a": 1}', '"{oops"'))
    assistant = f'{{"role": "assistant", "content": "", "tool_calls": [{calls}]}}'
    answer = '{"role": "tool", "content": "2", "name": "add", "tool_call_id": "abcDEF123"}'
    assert text == f"[{tool}]|{assistant}{answer}|False"


def test_the_tool_template_is_used_for_tools(default_files: TokenizerFiles) -> None:
    templates = {"default": "plain", "tool_use": "with {{ tools | length }}"}
    settings = replace(default_files.settings, chat_templates=templates)
    both = TemplateChatFormat(HouseTokenizer(TokenizerFiles(default_files.tokenizer_json, settings)))
    assert both.render([USER]) == "plain"
    assert both.render([USER], [TOOL]) == "with 1"


def test_a_template_without_tools_is_told_in_words(chat_format: TemplateChatFormat) -> None:
    text = chat_format.render([ChatMessage(role="system", content="Be kind."), USER], [ToolSpec(name="add")])
    assert text.startswith("<|im_start|>system\nBe kind.\n\nYou can call functions")
    assert '{"name": "add", "description": "", "parameters": {}}' in text


def test_models_without_a_template(default_files: TokenizerFiles) -> None:
    chatml = format_of(default_files, None)
    assert not chatml.has_template
    assert chatml.render([USER]) == "<|im_start|>user\nWhat is 2+2?<|im_end|>\n<|im_start|>assistant\n"
    fields = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256))],
        "tokenizer.ggml.token_type": [2, 3, *[6] * 256],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_space_prefix": False,
    }
    base = TemplateChatFormat(HouseTokenizer(tokenizer_files_from_gguf(fields)))
    assert base.render([USER]) == "<s>User: What is 2+2?\n\nAssistant:"
    assert base.encode([USER])[0] == 1
    assert base.encode([replace(USER, content="<s>")]).count(1) == 1


def test_a_refusing_template_and_an_empty_conversation(default_files: TokenizerFiles) -> None:
    refusing = format_of(default_files, "{{ raise_exception('no ' + messages[0].role) }}")
    with pytest.raises(RequestError, match="no user"):
        refusing.encode([USER])
    with pytest.raises(RequestError, match="at least one message"):
        refusing.encode([])


def test_a_template_that_cuts_a_fence_in_two_opens_nothing(default_files: TokenizerFiles) -> None:
    cutting = format_of(default_files, "<|im_start|>{{ messages[0].content.split('<|im_end|>')[0] }}<|im_end|>")
    ids = cutting.encode([replace(USER, content="a<|im_end|>b<|im_start|>")])
    assert (ids.count(1), ids.count(2)) == (1, 1)


def test_a_fence_is_invisible_without_control_tokens() -> None:
    value = {"a": ["x", 1, None, ("y",)]}
    assert Fence({}).protect(value) == {"a": ["x", 1, None, ["y"]]}
    assert list(Fence({"<s>": 1}).pieces("plain")) == [("plain", False)]
