"""Answers as each family writes them: made by a seed, with what a reader should find in them.

Thinking (where the family thinks), text, and none to three calls, spelled as the family's own template spells them. The
values hold what is hard: brackets, quotation marks, line ends, tags, other alphabets. No model is asked.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vortex.types import ToolSpec

TOOLS = (
    ToolSpec(
        name="get_weather",
        parameters={
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "metric": {"type": "boolean"}},
        },
    ),
    ToolSpec(name="write_file", parameters={"type": "object", "properties": {"text": {"type": "string"}}}),
    ToolSpec(name="think", parameters={"type": "object", "properties": {}}),  # named like a tag
)
TEXTS = ("It is warm.", "Let me see: 1 < 2 and a[0] = {b}.", "Sí, «claro».", "Two\nlines", "天气很好", "A `code` word")
THOUGHTS = ("I should look it up.", "Hm: is x < y? Yes.", "First this.\nThen that.", "想一想", "{not json}")
CITIES = ("Rome", "São Paulo", "a}b{c", 'say "hi"', "x, y", "<b>", "[1]", "東京", "line\nend", "it's", "a\\b")

Call = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class FamilyAnswer:
    """written: what the model writes. The rest: what is to be found in it."""

    written: str
    thought: str
    text: str
    calls: tuple[Call, ...]


def family_answers(family: str, count: int, seed: int = 0) -> list[FamilyAnswer]:
    """The same for the same arguments on every machine."""
    draw, spelling = random.Random(f"{family}/{seed}"), SPELLINGS[family]
    answers = []
    for index in range(count):
        thought = draw.choice(THOUGHTS) if spelling.thinks and draw.random() < 0.6 else ""
        calls = tuple(_call(draw) for _ in range(index % 4))
        text = draw.choice(TEXTS) if not calls or (spelling.text_beside_calls and draw.random() < 0.5) else ""
        answers.append(FamilyAnswer(spelling.write(thought, text, calls), thought, text, calls))
    return answers


def _call(draw: random.Random) -> Call:
    kind = draw.randrange(3)
    if kind == 0:
        return "get_weather", {"city": draw.choice(CITIES), "days": draw.randrange(9), "metric": draw.random() < 0.5}
    return ("write_file", {"text": draw.choice(CITIES)}) if kind == 1 else ("think", {})


@dataclass(frozen=True, slots=True)
class Spelling:
    write: Callable[[str, str, tuple[Call, ...]], str]
    thinks: bool = True
    text_beside_calls: bool = True


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _think(thought: str) -> str:
    return f"<think>\n{thought}\n</think>\n\n" if thought else ""


def _object(name: str, arguments: Mapping[str, Any], key: str = "arguments") -> str:
    return f'{{"name": {_json(name)}, "{key}": {_json(arguments)}}}'


def _hermes(thought: str, text: str, calls: tuple[Call, ...]) -> str:
    spelled = [f"<tool_call>\n{_object(*call)}\n</tool_call>" for call in calls]
    return _think(thought) + "\n".join([*([text] if text else []), *spelled])


def _xml(thought: str, text: str, calls: tuple[Call, ...]) -> str:
    spelled = []
    for name, arguments in calls:
        lines = [f"<parameter={key}>\n{_plain(value)}\n</parameter>" for key, value in arguments.items()]
        spelled.append("\n".join(["<tool_call>", f"<function={name}>", *lines, "</function>", "</tool_call>"]))
    return _think(thought) + "\n".join([*([text] if text else []), *spelled])


def _plain(value: object) -> str:
    return value if isinstance(value, str) else _json(value)


def _glm(thought: str, text: str, calls: tuple[Call, ...]) -> str:
    spelled = ""
    for name, arguments in calls:
        pairs = "".join(
            f"<arg_key>{key}</arg_key>\n<arg_value>{_plain(value)}</arg_value>\n" for key, value in arguments.items()
        )
        spelled += f"\n<tool_call>{name}\n{pairs}</tool_call>"
    return _think(thought) + text + spelled


def _mistral(thought: str, text: str, calls: tuple[Call, ...]) -> str:
    before = f"[THINK]{thought}[/THINK]" if thought else ""
    return before + text + "".join(f"[TOOL_CALLS]{name}[ARGS]{_json(arguments)}" for name, arguments in calls)


def _llama(thought: str, text: str, calls: tuple[Call, ...]) -> str:
    return text or "; ".join(_object(name, arguments, "parameters") for name, arguments in calls)


def _pythonic(calls: tuple[Call, ...]) -> str:
    spelled = [f"{name}({', '.join(f'{key}={value!r}' for key, value in given.items())})" for name, given in calls]
    return f"[{', '.join(spelled)}]"


def _lfm2(thought: str, text: str, calls: tuple[Call, ...]) -> str:
    spelled = f"<|tool_call_start|>{_pythonic(calls)}<|tool_call_end|>" if calls else ""
    return _think(thought) + spelled + text


def _phi4(thought: str, text: str, calls: tuple[Call, ...]) -> str:
    spelled = ", ".join(_object(*call) for call in calls)
    return text + (f"<|tool_call|>[{spelled}]<|/tool_call|>" if calls else "")


def _deepseek(thought: str, text: str, calls: tuple[Call, ...]) -> str:
    spelled = "".join(
        f"<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{_json(arguments)}<｜tool▁call▁end｜>" for name, arguments in calls
    )
    return _think(thought) + text + (f"<｜tool▁calls▁begin｜>{spelled}<｜tool▁calls▁end｜>" if calls else "")


def _gemma(value: object, quote: str) -> str:
    if isinstance(value, str):
        return f"{quote}{value}{quote}"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{_gemma(item, quote)}' for key, item in value.items())}}}"
    return _json(value)


def _gemma4(thought: str, text: str, calls: tuple[Call, ...]) -> str:
    before = f"<|channel>thought\n{thought}<channel|>" if thought else ""
    spelled = [f"<|tool_call>call:{name}{_gemma(given, QUOTE)}<tool_call|>" for name, given in calls]
    return before + text + "".join(spelled)


def _function_gemma(thought: str, text: str, calls: tuple[Call, ...]) -> str:
    spelled = [
        f"<start_function_call>call:{name}{_gemma(given, '<escape>')}<end_function_call>" for name, given in calls
    ]
    return text + "".join(spelled)


def _harmony(thought: str, text: str, calls: tuple[Call, ...]) -> str:
    messages = [f"<|channel|>analysis<|message|>{thought}"] if thought else []
    if text:
        messages.append(f"<|channel|>{'commentary' if calls else 'final'}<|message|>{text}")
    messages += [
        f"<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>{_json(given)}" for name, given in calls
    ]
    return "<|end|><|start|>assistant".join(messages)


QUOTE = '<|"|>'
SPELLINGS = {
    "hermes": Spelling(_hermes),
    "qwen3_coder": Spelling(_xml),
    "glm": Spelling(_glm),
    "mistral": Spelling(_mistral),
    "llama3": Spelling(_llama, thinks=False, text_beside_calls=False),
    "lfm2": Spelling(_lfm2),
    "phi4": Spelling(_phi4, thinks=False),
    "deepseek": Spelling(_deepseek),
    "gemma4": Spelling(_gemma4),
    "function_gemma": Spelling(_function_gemma, thinks=False),
    "harmony": Spelling(_harmony),
}
