"""`vortex bootstrap` as a whole: a teacher, its text, three stages, a core that keeps the teacher's tokenizer.

OUT/  config.json, model.safetensors, tokenizer/   the core
      bootstrap.json                               the losses and the divergence from the teacher
      data/                                        the teacher's answers, and all text as tokens
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from vortex.errors import ConfigError
from vortex.learn.dialogues import teacher_prompts
from vortex.learn.distillation import (
    ALL_STAGES,
    MATCHING_STAGES,
    Distillation,
    DistillationCurve,
    DistillationOptions,
    Listeners,
    OnStep,
)
from vortex.learn.encoders import ChatEncoder
from vortex.learn.student import copy_teacher, student_config
from vortex.learn.teacher import Teacher
from vortex.learn.teacher_text import answered, write_dialogues
from vortex.records.atomic import atomic_write
from vortex.tokenizer.files import TOKENIZER_FILE
from vortex.training.batches import Batches, held_out_windows
from vortex.training.documents import find_files
from vortex.training.token_store import TokenStore, open_store
from vortex.vblocks.checkpoint import CoreCheckpoint, save_core
from vortex.vblocks.network.network import CoreNetwork, network_of, weights_of

HELD_OUT_WINDOWS = {"cpu": 8, "cuda": 32}
COPIED_RATE, COPIED_RATE_TOKENS = 5e-4, 8192  # the peak for what is new in a student with a window, at that batch
ANSWERED_TOGETHER = {"cpu": 8, "cuda": 512}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """data: text to learn from beside the teacher's own answers to `max_prompts` questions (0: none).

    steps 0: nothing is learned; the copy is measured, on `data` where there is some.
    reuse: take the answers that are there already. start_from: a core to go on with, instead of one made of the
    teacher's weights. batch_tokens: of one step. local_window: tokens of the student's window of
    attention, a copy of the teacher's (0: none). minutes: ends by time, where it is not 0.
    """

    out: Path
    steps: int
    batch_tokens: int
    minutes: float = 0.0
    window: int = 256
    local_window: int = 128
    max_prompts: int = 64
    data: Sequence[Path] = ()
    reuse: bool = False
    start_from: CoreCheckpoint | None = None
    dtype: str = "float16"
    seed: int = 0
    limit_bytes: int = 256 << 20
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Made:
    """The student in memory, for those who measure it, and what it took and keeps."""

    student: CoreNetwork
    curve: DistillationCurve
    figures: dict[str, Any]


def bootstrap(
    run: Bootstrap,
    teacher: Teacher,
    *,
    say: Callable[[str], None] = lambda _: None,
    on_step: OnStep | None = None,
) -> Made:
    """Raises VortexError."""
    student = make_student(run, teacher)
    say(f"student: {student.num_parameters():,} weights, {student.config.num_layers} layers, on {teacher.device}")
    encoder = encoder_of(teacher)
    copies_only = not run.steps and not run.minutes
    told, store = _Told(say, on_step), None
    if run.data or not copies_only:
        store = _store(run, teacher, encoder, told, asks=not copies_only)

    def batches(window: int, batch: int) -> Batches:
        assert store is not None, "a copy alone asks for no batches"
        return Batches(store.train, window=window, batch=batch, seed=run.seed)

    distillation = Distillation(
        teacher,
        student,
        batches,
        held_out_windows(store.held_out, run.window, HELD_OUT_WINDOWS[teacher.device.type]) if store else [],
        distillation_options(run, has_window=bool(student.config.local_window)),
        listeners=Listeners(
            on_step=on_step,
            on_stage=lambda curve: _save(run, teacher, student, curve, {"tokens": curve.tokens}),
            on_curve=lambda curve: _save_curve(run, curve, {"teacher": teacher.name}),
        ),
    )
    begun = time.monotonic()
    curve = distillation.run()
    figures = {
        "steps": sum(map(len, curve.losses.values())),
        "tokens": curve.tokens,
        "seconds": round(time.monotonic() - begun, 1),
        **_ends_of(curve.held_out),
        **distillation.compare(),
    }
    _save(run, teacher, student, curve, figures)
    return Made(student, curve, figures)


def distillation_options(run: Bootstrap, *, has_window: bool) -> DistillationOptions:
    """has_window: of the teacher's attention, then nearly all of the teacher is there, and should stay."""
    return DistillationOptions(
        steps=run.steps,
        minutes=run.minutes,
        window=run.window,
        batch=max(1, run.batch_tokens // run.window),
        evaluate_every=50 if run.minutes else max(1, run.steps // 10),
        logits_rate=_rate_of_copies(run.batch_tokens) if has_window else 5e-4,
        copied_factor=0.1 if has_window else 1.0,
        stages=MATCHING_STAGES if has_window else ALL_STAGES,
        seed=run.seed,
    )


def _rate_of_copies(batch_tokens: int) -> float:
    """By the square root of the batch: at the rate of a large one, small batches first lead away from the teacher."""
    return COPIED_RATE * min(1.0, (batch_tokens / COPIED_RATE_TOKENS) ** 0.5)


def _ends_of(held_out: list[tuple[int, float]]) -> dict[str, float]:
    if not held_out:
        return {}
    return {"first_kl_nats": round(held_out[0][1], 4), "last_kl_nats": round(held_out[-1][1], 4)}


def make_student(run: Bootstrap, teacher: Teacher) -> CoreNetwork:
    """From the teacher's weights, or the core to go on with. Raises ConfigError where they do not belong together."""
    torch.manual_seed(run.seed)
    if run.start_from is None:
        student = CoreNetwork(student_config(teacher.model, window=run.local_window))
        copy_teacher(student, teacher.model)
        return student
    check_same_tokenizer(run.start_from, teacher)
    student = network_of(run.start_from)
    wanted = student_config(teacher.model)
    if (student.config.width, student.config.num_layers) != (wanted.width, wanted.num_layers):
        raise ConfigError(
            f"the checkpoint has {student.config.num_layers} layers of {student.config.width}, {teacher.name} "
            f"{wanted.num_layers} of {wanted.width}: hidden states cannot be aligned; leave --checkpoint out"
        )
    return student


def check_same_tokenizer(checkpoint: CoreCheckpoint, teacher: Teacher) -> None:
    """Distilling distributions needs one vocabulary. Raises ConfigError."""
    folder = checkpoint.tokenizer_folder
    theirs = hashlib.sha256(teacher.files.tokenizer_json).hexdigest()
    file = folder / TOKENIZER_FILE if folder else None
    ours = hashlib.sha256(file.read_bytes()).hexdigest() if file and file.exists() else None
    if ours != theirs:
        raise ConfigError(
            f"the checkpoint's tokenizer is not that of {teacher.name}, and only one vocabulary can be distilled; "
            "name the teacher it was made from, or leave --checkpoint out"
        )


def encoder_of(teacher: Teacher) -> ChatEncoder:
    settings = teacher.tokenizer.settings
    begin = [settings.bos_id] if settings.add_bos and settings.bos_id is not None else []
    ends = sorted(teacher.tokenizer.end_ids)
    end = [settings.eos_id] if settings.eos_id is not None else ends[:1]
    digest = hashlib.sha256(teacher.files.tokenizer_json).hexdigest()[:16]
    return ChatEncoder(f"teacher {digest}", teacher.tokenizer, teacher.chat_format, begin, end, end)


@dataclass(frozen=True, slots=True)
class _Told:
    """Who is told what goes on."""

    say: Callable[[str], None]
    on_step: OnStep | None

    def answers(self, total: int) -> Callable[[int], None]:
        return lambda done: self.on_step("answers", done, total, None) if self.on_step else None


def _store(run: Bootstrap, teacher: Teacher, encoder: ChatEncoder, told: _Told, *, asks: bool) -> TokenStore:
    folder = run.out / "data"
    paths = list(run.data)
    if run.max_prompts and asks:
        answers = folder / "answers.jsonl"
        if not (run.reuse and answers.exists()):
            told.say(f"{teacher.name} answers {run.max_prompts} questions")
            prompts = teacher_prompts(run.seed, run.max_prompts)
            batch = ANSWERED_TOGETHER[teacher.device.type]
            dialogues = answered(teacher, prompts, batch=batch, seed=run.seed, progress=told.answers(len(prompts)))
            write_dialogues(answers, list(dialogues))
        paths.append(answers)
    if not paths:
        raise ConfigError("there is nothing to learn from: give --max-prompts or --data")
    store = open_store(folder / "tokens", find_files(paths), encoder, limit_bytes=run.limit_bytes)
    told.say(f"data: {len(store.train.tokens):,} tokens, {len(store.held_out.tokens):,} held out")
    return store


def _save(
    run: Bootstrap, teacher: Teacher, student: CoreNetwork, curve: DistillationCurve, figures: dict[str, Any]
) -> None:
    folder = run.out / "data" / "tokenizer"
    teacher.files.save(folder)
    notes = {**run.notes, "teacher": teacher.name, **figures}
    checkpoint = CoreCheckpoint(student.config, weights_of(student), "", notes)
    save_core(run.out, checkpoint, tokenizer_files=folder, dtype=run.dtype)
    _save_curve(run, curve, notes)


def _save_curve(run: Bootstrap, curve: DistillationCurve, notes: dict[str, Any]) -> None:
    with atomic_write(run.out / "bootstrap.json") as file:
        values = {"losses": curve.losses, "held_out_kl_nats": curve.held_out, **notes}
        file.write((json.dumps(values) + "\n").encode())
