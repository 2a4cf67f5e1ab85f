"""Real tasks of six kinds, for measuring what drafts are worth: chat, edit code, answer from a passage, summarise with
quotations, translate, list. Where they come from: data/SOURCES.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

KINDS = ("edit", "passage", "summarise", "translate", "list", "chat")
FILE = Path(__file__).with_name("data") / "task_prompts.json"


@dataclass(frozen=True, slots=True)
class TaskPrompt:
    kind: str
    text: str


def task_prompts() -> list[TaskPrompt]:
    """All of them, kind by kind."""
    stored = json.loads(FILE.read_text(encoding="utf-8"))

    def text_of(prompt: dict[str, str]) -> str:
        if "code" in prompt:
            return f"{prompt['task']}\n\n```python\n{stored['code'][prompt['code']]}\n```"
        if "passage" in prompt:
            return f"{prompt['task']}\n\n{stored['passages'][prompt['passage']]}"
        return prompt["task"]

    prompts = [TaskPrompt(prompt["kind"], text_of(prompt)) for prompt in stored["prompts"]]
    return [prompt for kind in KINDS for prompt in prompts if prompt.kind == kind]


def spread(prompts: list[TaskPrompt], per_kind: int) -> list[TaskPrompt]:
    """`per_kind` prompts of each kind, taken evenly from all of the kind."""
    chosen = []
    for kind in KINDS:
        of_kind = [prompt for prompt in prompts if prompt.kind == kind]
        count = min(per_kind, len(of_kind))
        chosen += [of_kind[index * len(of_kind) // count] for index in range(count)]
    return chosen
