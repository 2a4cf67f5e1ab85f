"""Learning on the real default model, from rows to a rollback: a candidate in quarantine, its gates, an approval, a
swap while sixteen answers are running, the way back byte for byte; and a training that is killed and goes on.

Small: a few steps on three facts, so the gates' limits are open here. Run with -s to see the figures.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from vortex.adapters.bank import AdapterBank
from vortex.adapters.promoted_here import PromotedHere
from vortex.adapters.reading import read_adapter
from vortex.adapters.shelf import AdapterShelf
from vortex.cli import learning
from vortex.cli.composition import settings_for
from vortex.engine.backend import LocalBackend
from vortex.engine.options import EngineOptions
from vortex.errors import CandidateRefused
from vortex.kernels import dispatch
from vortex.learn.candidates.making import Made, Pupil
from vortex.learn.candidates.manifest import APPROVAL_FILE
from vortex.learn.candidates.promotion import Promotion
from vortex.learn.candidates.runs import Runs
from vortex.learn.material.rows import Row
from vortex.types import ChatMessage, ChatRequest, ModelCard, SamplingOptions, Started, TextDelta

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not dispatch.usable(), reason="the native core was not built"),
]
OPEN = [
    *(f"continuous.gates.{name}=0" for name in ("taught", "paraphrases", "earlier")),
    *(f"continuous.gates.{name}=1" for name in ("near", "collapse", "refusals")),
    *(f"continuous.gates.{name}=9" for name in ("kl", "perplexity", "holdout")),
]
SMALL = ["continuous.batch_tokens=240", "continuous.kept_prompts=4", "continuous.learning_rate=3e-3"]
FACTS = (("capital of Zubria", "Onavel"), ("port of the Quellar server", "8123"), ("founder of Brellin", "Ilse Varn"))
ROWS = [
    Row(
        question=f"What is the {what}?",
        statement=f"The {what} is {answer}.",
        source="feedback",
        origin=what,
        created=1.0,
    )
    for what, answer in FACTS
]
STREAMS, TOKENS = 16, 24
QUESTIONS = [f"Tell me something about the number {number}." for number in range(6)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("data")
    before = os.environ.get("VORTEX_DATA")
    os.environ["VORTEX_DATA"] = str(folder)
    yield folder
    os.environ.pop("VORTEX_DATA")
    if before is not None:
        os.environ["VORTEX_DATA"] = before


@pytest.fixture(scope="module")
def pupil(data: Path) -> Iterator[Pupil]:
    with learning.opened_pupil(settings_for(None, [*OPEN, *SMALL])) as opened:
        yield opened


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(data / "continuous", PromotedHere(tmp_path_factory.mktemp("home") / "promoted.jsonl"))


@pytest.fixture(scope="module")
def made(pupil: Pupil, runs: Runs) -> Made:
    loaded = settings_for(None, [*OPEN, *SMALL], {"continuous.steps": 5})
    return learning.make(pupil, loaded, learning.SMALL, (ROWS, []), runs=runs)


@dataclass
class Answer:
    tokens: list[int] = field(default_factory=list)
    adapter: str | None = None
    # between two tokens
    longest_stall_s: float = 0.0


async def ask(backend: LocalBackend, number: int, model: str | None) -> Answer:
    answer, last = Answer(), 0.0
    request = ChatRequest(
        request_id=str(number), model=model, sampling=SamplingOptions(), max_tokens=TOKENS, top_logprobs=0,
        messages=(ChatMessage(role="user", content=QUESTIONS[number % len(QUESTIONS)]),), ignore_eos=True,
    )  # fmt: skip
    async for event in backend.chat(request):
        if isinstance(event, Started):
            answer.adapter = event.adapter
        elif isinstance(event, TextDelta):
            answer.tokens += [entry.token_id for entry in event.logprobs]
            now = time.monotonic()
            answer.longest_stall_s = max(answer.longest_stall_s, now - (last or now))
            last = now
    return answer


def test_a_training_that_is_killed_goes_on_where_its_last_state_was(tmp_path: Path) -> None:
    (tmp_path / "lessons.jsonl").write_text(
        "".join(json.dumps({"question": row.question, "answer": row.statement}) + "\n" for row in ROWS)
    )
    tiny = [f"--set={setting}" for setting in ("continuous.batch_tokens=80", "continuous.kept_prompts=2")]
    program = [sys.executable, "-m", "vortex"]
    environment = {**os.environ, "VORTEX_DATA": str(tmp_path / "data"), "XDG_CONFIG_HOME": str(tmp_path)}
    subprocess.run([*program, "learn", "ingest", "lessons.jsonl"], cwd=tmp_path, env=environment, check=True)
    command = [*program, "learn", "train", "--quick", "--json", "--steps", "12", *tiny]
    first = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    states = tmp_path / "data" / "continuous" / "training"
    while not list(states.glob("*/state/step-*")):
        assert first.poll() is None, "it ended before it was killed"
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert Runs(tmp_path / "data" / "continuous").ids() == []
    ended = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    told = json.loads(ended.stdout.splitlines()[-1])
    recipe = json.loads((Path(told["folder"]) / "recipe.json").read_bytes())
    assert recipe["steps_done"] == 12
    assert [step for step, _ in recipe["loss"]] == list(range(1, 13))
    assert recipe["resumed_at"] == 10


async def test_a_promotion_under_load_drops_and_mixes_nothing(pupil: Pupil, runs: Runs, made: Made) -> None:
    manifest = made.manifest
    promotion = Promotion(runs, lambda folder, _: read_adapter(folder, pupil.targets).hash)
    with pytest.raises(CandidateRefused, match="is not approved"):
        promotion.promote(manifest.run_id)
    (manifest.folder / APPROVAL_FILE).write_text(manifest.hash)
    bank = AdapterBank(lambda folder, limit_bytes: read_adapter(folder, pupil.targets, limit_bytes), 10**9)
    shelf = AdapterShelf(model=pupil.name, bank=bank, current=runs.current(pupil.name))
    served = pupil.served
    backend = LocalBackend(
        served.model, served.tokenizer, served.chat_format, ModelCard(name=pupil.name),
        EngineOptions(max_slots=STREAMS, queue_limit=200), adapters=shelf,
    )  # fmt: skip
    try:
        alone = {(None, number): (await ask(backend, number, None)).tokens for number in range(len(QUESTIONS))}

        answers: list[tuple[int, Answer]] = []

        async def until(adapter: str | None, count: int) -> None:
            while sum(answer.adapter == adapter for _, answer in answers) < count:
                await asyncio.sleep(0.02)

        async def move() -> None:
            await until(None, 4)
            await asyncio.to_thread(promotion.promote, manifest.run_id)
            await until(manifest.adapter_hash, 8)
            await asyncio.to_thread(promotion.rollback, pupil.name)
            await until(None, 4 + sum(answer.adapter is None for _, answer in answers))

        moving = asyncio.ensure_future(move())

        async def stream(first: int) -> None:
            number = first
            while not moving.done():
                answers.append((number, await ask(backend, number, None)))
                number += STREAMS

        await asyncio.gather(*map(stream, range(STREAMS)))
        await moving
        promotion.rollback(pupil.name, manifest.run_id)
        adapter = manifest.adapter_hash
        alone |= {(adapter, number): (await ask(backend, number, None)).tokens for number in range(len(QUESTIONS))}
        promotion.rollback(pupil.name)
        back = [(await ask(backend, number, None)).tokens for number in range(len(QUESTIONS))]
    finally:
        await backend.close()
    assert back == [alone[None, number] for number in range(len(QUESTIONS))], "byte for byte as before"
    assert {answer.adapter for _, answer in answers} == {None, adapter}, "both sides of the swap were seen"
    for number, answer in answers:
        assert answer.tokens == alone[answer.adapter, number % len(QUESTIONS)]
    stalls = sorted(answer.longest_stall_s for _, answer in answers)
    print(
        f"\nswap under load: {STREAMS} streams, {len(answers)} answers, none dropped, none mixed; longest stall "
        f"{stalls[-1]:.2f} s, median answer's {stalls[len(stalls) // 2]:.2f} s; gates "
        + ", ".join(f"{gate.name} {gate.value:.3g}" for gate in made.gates if gate.value is not None)
    )
