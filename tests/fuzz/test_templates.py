"""Chat templates put together from what templates do, changed at random: a text, or a VortexError, in bounded time."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from tests.fuzz.cases import rounds, within
from vortex.errors import VortexError
from vortex.tokenizer.template import ChatTemplate

MESSAGES = [
    {"role": "system", "content": "s" * 300},
    {"role": "user", "content": "hello world " * 30},
    {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
]
VALUES = (
    "m.content",
    "m",
    "messages",
    "m.role",
    "ns.x",
    "ns",
    "10**9",
    "99999",
    "'a'",
    "[1, 2]",
    "i",
    "tools",
    "loop",
    "m.zip",
)
SUFFIXES = (
    *("", " | trim", " | tojson(indent=V)", " | center(V)", ".center(V)", " * V", " + V", " ~ V", " ** V", " % V"),
    *("[V]", "[:V]", " | join(V)", ".replace(V, V)", ".split(V)", " | length", ".format(V)", " | batch(V) | list"),
    *(".__class__", ".items()", " | indent(V)", " | map('center', V) | list", " | sort", " | replace(V, V)", "(V)"),
)
BLOCKS = (
    *("{% for m in E %}BODY{% endfor %}", "{% for i in range(E) %}BODY{% endfor %}", "{% if E %}BODY{% endif %}"),
    *(
        "{{ E }}",
        "{% set ns.x = E %}",
        "{% set ns = namespace(x=E) %}",
        "{% macro f(V) %}BODY{{ f(V) }}{% endmacro %}{{ f(1) }}",
    ),
    *(
        "{% set y %}BODY{% endset %}",
        "{{ raise_exception(E) }}",
        "{{ strftime_now(E) }}",
        "BODYBODY",
        "{% E",
        "{{",
        "text",
    ),
)


def source(draw: random.Random, depth: int = 4) -> str:
    block = draw.choice(BLOCKS)
    while "E" in block:
        block = block.replace(
            "E", draw.choice(VALUES) + "".join(draw.choice(SUFFIXES) for _ in range(draw.randrange(3))), 1
        )
    while "V" in block:
        block = block.replace("V", draw.choice(VALUES), 1)
    while "BODY" in block:
        block = block.replace("BODY", source(draw, depth - 1) if depth else "x", 1)
    return block


def check(seed: int) -> None:
    draw = random.Random(seed)
    text = "{% set ns = namespace(x='a') %}{% for m in messages %}" + source(draw) + source(draw) + "{% endfor %}"
    with within(20, seed), suppress(VortexError):
        ChatTemplate(text).render(MESSAGES, None, add_generation_prompt=True)


def test_no_template_hangs_or_escapes() -> None:
    for seed in rounds(150):
        check(seed)


@pytest.mark.long
def test_no_template_hangs_or_escapes_for_longer() -> None:
    for seed in rounds(6000):
        check(seed)
