"""Templates that would fill or hang a server end in one line, whatever they try; honest ones are not touched."""

from __future__ import annotations

import pytest

from vortex.errors import ModelFileError, RequestError
from vortex.tokenizer import template_limits
from vortex.tokenizer.template import MAX_SOURCE_CHARS, ChatTemplate

MESSAGES = [{"role": "user", "content": "hello " * 200}]
GROWING = "{% set ns = namespace(x=START) %}{% for i in range(60) %}{% set ns.x = STEP %}{% endfor %}{{ ns.x }}"


def growing(step: str, start: str = "'a'") -> str:
    return GROWING.replace("STEP", step).replace("START", start)


HOSTILE = {
    "repeated": "{{ 'a' * 10**10 }}",
    "repeated list": "{{ [1] * 10**10 }}",
    "filter": "{{ 'a' | center(3000000000) }}",
    "method": "{{ 'a'.center(3000000000) }}",
    "joined": growing("ns.x ~ ns.x"),
    "added": growing("ns.x + ns.x"),
    "listed": growing("ns.x + ns.x", "[1]"),
    "by join": growing("[ns.x, ns.x] | join(ns.x)"),
    "by block": "{% set ns = namespace(x='aaaa') %}{% for i in range(60) %}"
    "{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}{% endfor %}",
    "squared": growing("ns.x * ns.x", "10"),
    "nested": "".join(f"{{% for a{i} in messages[0].content %}}" for i in range(15)) + "{% endfor %}" * 15,
    "ranges": "".join(f"{{% for a{i} in range(99999) %}}" for i in range(3)) + "{% endfor %}" * 3,
    "macro": "{% macro m(n) %}{{ m(n+1) }}{{ m(n+1) }}{% endmacro %}{{ m(0) }}",
    "recursive": "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "percent": "{{ '%1000000000d' % 1 }}",
    "percent star": "{{ '%*d' % (1000000000, 1) }}",
    "format": "{{ '{:>1000000000}'.format(1) }}",
    "format by name": "{{ '{:>{w}}'.format(1, w=1000000000) }}",
    "format map": "{{ '{a:>1000000000}'.format_map({'a': 1}) }}",
    "replaced": "{% set a = 'a' * 1000000 %}{{ a | replace('a', a) }}",
    "replaced by method": "{% set a = 'a' * 1000000 %}{{ a.replace('a', a) }}",
    "joined by method": "{% set a = 'a' * 1000000 %}{{ a.join(a) }}",
    "indented JSON": "{{ [[[1]]] | tojson(indent=1000000000) }}",
    "batched": "{{ [1] | batch(1000000000, 0) | list }}",
    "output": "{% for i in range(99999) %}{{ 'a' * 10000 }}{% endfor %}",
    "mapped": "{{ range(9999) | map('center', 90000) | list | length }}",
    "tabs": "{{ ('\t' * 1000).expandtabs(90000) }}",
    "ipsum": "{{ lipsum(n=100000000) }}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_would_not_end_ends_in_one_line(name: str) -> None:
    with pytest.raises(RequestError) as refusal:
        ChatTemplate(HOSTILE[name]).render(MESSAGES, None)
    assert "\n" not in str(refusal.value)


@pytest.mark.long
def test_the_clock_ends_what_steps_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_limits, "MAX_SECONDS", 0.05)
    slow = "{% for i in range(9999) %}{% set q = range(99999) | sort(reverse=true) | length %}{% endfor %}"
    with pytest.raises(RequestError, match="seconds"):
        ChatTemplate(slow).render(MESSAGES, None)
    assert ChatTemplate("{{ 1 }}").render(MESSAGES, None) == "1", "the next rendering has its own time"


def test_a_source_beyond_all_measure_is_refused() -> None:
    for source in ("x" * (MAX_SOURCE_CHARS + 1), "{{ " + "(" * 5000 + ")" * 5000 + " }}"):
        with pytest.raises(ModelFileError):
            ChatTemplate(source)


def test_loops_keep_their_length() -> None:
    source = (
        "{% for m in messages | selectattr('role') %}{{ loop.length }}{{ loop.last }}{{ m.role ~ '-' ~ loop.index }}"
        "{% else %}none{% endfor %}{{ 'a' * 3 }}{{ '%s-%d' % ('x', 2) }}{{ '{:>5}'.format(1) }}"
        "{{ ['a', 'b'] | join(', ') }}"
    )
    assert ChatTemplate(source).render(MESSAGES, None) == "1Trueuser-1aaax-2    1a, b"
