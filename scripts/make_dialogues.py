"""Write the dialogues that the shipped core learns from: python scripts/make_dialogues.py --out data/dialogues.jsonl

Facts come from `vortex.learn.dialogues`, answers to open questions from a teacher (SmolLM2-135M by default).
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
from pathlib import Path

import torch

from vortex.learn.dialogues import TeacherPrompt, facts, teacher_prompts
from vortex.learn.teacher import open_teacher
from vortex.learn.teacher_text import answered, write_dialogues


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--prompts", type=int, default=4000, help="different open questions")
    parser.add_argument("--rounds", type=int, default=1, help="times that each is answered")
    parser.add_argument("--fact-copies", type=int, default=20, help="times that each fact is written, in new words")
    parser.add_argument("--batch", type=int, default=0, help="answers written together; 0: 2400 on a GPU, else 24")
    parser.add_argument("--seconds", type=float, default=0, help="stop asking the teacher after this; 0: never")
    parser.add_argument("--teacher", type=Path, help="GGUF file or safetensors folder; else SmolLM2-135M")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    path = options.teacher
    if path is None:
        from vortex.hub.names import resolve

        path = resolve("smollm2-135m").path
    teacher = open_teacher("teacher", path, device=device)
    batch = options.batch or (2400 if device.type == "cuda" else 24)
    found, begin = facts(options.seed, options.fact_copies), time.monotonic()
    for round_ in range(options.rounds):
        prompts = teacher_prompts(options.seed, options.prompts)
        random.Random(round_).shuffle(prompts)
        for at, part in enumerate(batches_of(prompts, batch)):
            if options.seconds and time.monotonic() - begin > options.seconds:
                break
            found += answered(teacher, part, batch=batch, seed=options.seed + 1000 * round_ + at, temperature=0.5)
            spent = time.monotonic() - begin
            print(f"\r{len(found):,} dialogues, {spent:.0f} s", end="", file=sys.stderr, flush=True)
            write_dialogues(options.out, found)
    print(f"\n{options.out}: {len(found):,} dialogues, {options.out.stat().st_size / 1e6:.1f} MB", file=sys.stderr)


def batches_of(prompts: list[TeacherPrompt], batch: int) -> list[list[TeacherPrompt]]:
    """Batches of answers of one length, the lengths taking turns as far as they go."""
    by_length: dict[int, list[TeacherPrompt]] = {}
    for prompt in prompts:
        by_length.setdefault(prompt.max_tokens, []).append(prompt)
    parts = [[same[at : at + batch] for at in range(0, len(same), batch)] for same in by_length.values()]
    return [part for turn in itertools.zip_longest(*parts) for part in turn if part]


if __name__ == "__main__":
    main()
