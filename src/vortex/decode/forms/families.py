"""The families, and which of them a model is: by what its chat template writes.

GGUF files and folders carry no description of how a model answers, but their templates write past answers back, and the
marks they write them with are unmistakable. The more particular family is asked for first. A model that no family knows
is read as the plain form that our own prompts ask for (`tokenizer/tool_prompt.py`).

Does not do: run a template, or look at weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vortex.decode.forms.form import AnswerForm, CallMarks, Syntax, ThinkingMarks

THINK = ThinkingMarks("<think>", "</think>", "\n</think>\n\n")
BRACKETS = ThinkingMarks("[THINK]", "[/THINK]", "[/THINK]")
GEMMA_THOUGHT = ThinkingMarks("<|channel>thought\n", "<channel|>", "<channel|>")
TAG_MARKS = ("<think>", "</think>", "<tool_call>", "</tool_call>")
HARMONY_THOUGHT = "<|channel|>analysis<|message|>"
HARMONY_ANSWER = "<|channel|>final<|message|>"
HARMONY_FINAL = f"<|end|><|start|>assistant{HARMONY_ANSWER}"

TAGGED = CallMarks("<tool_call>", "</tool_call>", (Syntax.JSON, Syntax.XML, Syntax.JSON_LIST, Syntax.KEY_VALUE))
BARE = (  # what models of every family write when they forget their marks
    CallMarks("", "", (Syntax.JSON,)),
    CallMarks("```json\n", "```", (Syntax.JSON, Syntax.JSON_LIST)),
    CallMarks("```\n{", "```", (Syntax.JSON,), kept="{"),
    CallMarks('\n{"name"', "", (Syntax.JSON,), kept='{"name"'),
)
BARE_XML = CallMarks("<function=", "</tool_call>", (Syntax.XML,), kept="<function=")
BARE_LIST = CallMarks("", "", (Syntax.JSON, Syntax.PYTHONIC))

HERMES = AnswerForm(name="hermes", calls=(TAGGED, *BARE))
FAMILIES = (
    AnswerForm(
        name="harmony",
        harmony=True,
        marks=("<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|end|>"),
    ),
    AnswerForm(
        name="gemma4",
        thinking=(GEMMA_THOUGHT,),
        calls=(CallMarks("<|tool_call>", "<tool_call|>", (Syntax.BRACED,)),),
        silent=("<|tool_response>",),
        marks=("<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", '<|"|>', "<|tool_response>"),
    ),
    AnswerForm(
        name="function_gemma",
        calls=(CallMarks("<start_function_call>", "<end_function_call>", (Syntax.BRACED,)),),
        silent=("<start_function_response>",),
        marks=("<start_function_call>", "<end_function_call>", "<escape>", "<start_function_response>"),
    ),
    AnswerForm(
        name="deepseek",
        thinking=(THINK,),
        calls=(CallMarks("<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", (Syntax.DEEPSEEK,)),),
        silent=("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),
        marks=(
            *("<think>", "</think>", "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),
            *("<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"),
        ),
    ),
    AnswerForm(
        name="mistral",
        thinking=(BRACKETS,),
        calls=(CallMarks("[TOOL_CALLS]", "", (Syntax.JSON_LIST, Syntax.NAMED)), BARE[0]),
        marks=("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "[THINK]", "[/THINK]"),
    ),
    AnswerForm(
        name="lfm2",
        thinking=(THINK,),
        calls=(CallMarks("<|tool_call_start|>", "<|tool_call_end|>", (Syntax.PYTHONIC, Syntax.JSON_LIST)),),
        marks=("<|tool_call_start|>", "<|tool_call_end|>"),
    ),
    AnswerForm(
        name="phi4",
        calls=(
            CallMarks("<|tool_call|>", "<|/tool_call|>", (Syntax.JSON_LIST, Syntax.JSON)),
            CallMarks("functools[", "", (Syntax.JSON_LIST,), kept="["),
        ),
        marks=("<|tool_call|>", "<|/tool_call|>"),
    ),
    AnswerForm(
        name="llama3",
        calls=(CallMarks("<|python_tag|>", "", (Syntax.JSON, Syntax.PYTHONIC)), BARE_LIST, *BARE[1:]),
        marks=("<|python_tag|>",),
    ),
    AnswerForm(
        name="glm",
        thinking=(THINK,),
        calls=(CallMarks("<tool_call>", "</tool_call>", (Syntax.KEY_VALUE, Syntax.JSON)),),
        marks=(*TAG_MARKS, "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
    ),
    AnswerForm(name="qwen3_coder", calls=(TAGGED, BARE_XML, *BARE)),
)  # fmt: skip
SIGNS = {  # by family: all texts of one entry stand in its templates
    "harmony": (("<|channel|>", "<|message|>"),),
    "gemma4": (("<|tool_call>",), ("<|channel>",)),
    "function_gemma": (("<start_function_call>",),),
    "deepseek": (("<｜tool▁calls▁begin｜>",), ("<｜tool▁call▁begin｜>",)),
    "mistral": (("[TOOL_CALLS]",), ("[AVAILABLE_TOOLS]",), ("[THINK]",)),
    "lfm2": (("<|tool_call_start|>",), ("<|tool_list_start|>",)),
    "phi4": (("<|tool_call|>",), ("functools[",), ("<|tool|>",)),
    "llama3": (("<|python_tag|>",), ("<|start_header_id|>", "tools"), ("<|header_start|>", "tools")),
    "glm": (("<arg_key>",),),
    "qwen3_coder": (("<function=",),),
}


def form_of(templates: Sequence[str]) -> AnswerForm:
    """The family whose marks stand in the templates' text; its thinking as the templates have it."""
    text = "\n".join(templates)
    named = next((form for form in FAMILIES if any(_all_in(sign, text) for sign in SIGNS[form.name])), HERMES)
    if named.harmony or named.thinking:
        return named
    form = replace(named, marks=(*named.marks, *TAG_MARKS))
    return replace(form, thinking=(THINK,)) if THINK.closing in text else form


def family(name: str) -> AnswerForm:
    """By its name; with thinking where the family can."""
    return next(form for form in (*FAMILIES, HERMES) if form.name == name)


def _all_in(texts: Sequence[str], source: str) -> bool:
    return all(text in source for text in texts)
