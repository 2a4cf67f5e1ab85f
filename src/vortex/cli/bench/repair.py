"""`vortex bench repair`: how many programs with one fault each are put right, with this model or with none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vortex.cli.bench.presenting import JsonOutOption, keep_parts, present
from vortex.cli.options import ModelOption, ProfileOption, SetOption

if TYPE_CHECKING:
    import asyncio

    from vortex.agent.repair.pipeline import Models
    from vortex.bench.repair.measure import Find


QuixBugsOption = Annotated[
    Path | None, typer.Option("--quixbugs", file_okay=False, help="A checkout of QuixBugs; else our own programs.")
]


def repair(
    *,
    profile: ProfileOption = None,
    model: ModelOption = None,
    quixbugs: QuixBugsOption = None,
    repositories: Annotated[
        bool, typer.Option("--repositories", help="Packages of six programs, one of them faulty, with all their tests.")
    ] = False,
    propose: Annotated[
        bool, typer.Option("--propose/--no-propose", help="Let the model propose changes; else it ranks, no more.")
    ] = True,
    start: Annotated[int, typer.Option("--start", min=0, help="The first program to take.")] = 0,
    number: Annotated[int, typer.Option("--number", min=1, help="Programs to take.")] = 1000,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=1, help="Begin no further program after this time.")
    ] = None,
    json_out: JsonOutOption = None,
    set_: SetOption = None,
) -> None:
    """Programs with one fault each: plausible, right, first rank and seconds; ranked by the default model.

    Examples:

      vortex bench repair --no-propose                                   mutations, ranked by the default model

      vortex bench repair --model qwen2.5-coder-1.5b.gguf --number 20    that model's proposals too
    """
    import asyncio
    import math

    from vortex.bench.measurement import run_measurement
    from vortex.bench.repair.measure import RepairMeasurement
    from vortex.bench.repair.programs import own_programs
    from vortex.bench.repair.programs import quixbugs as read_quixbugs
    from vortex.bench.repair.programs import repositories as read_repositories
    from vortex.cli.agent.models import opened_models
    from vortex.cli.composition import settings_for
    from vortex.cli.terminal import notice

    chosen = read_quixbugs(quixbugs) if quixbugs else read_repositories() if repositories else own_programs()
    programs = chosen[start : start + number]
    loaded = settings_for(profile, set_, {"model.name": model})
    with asyncio.Runner() as runner, opened_models(loaded, runner, propose=propose) as models:
        kind = "QuixBugs" if quixbugs else "repositories" if repositories else "own programs"
        name = f"{kind}, {models.name}{'' if propose else ', mutations alone'}"
        measurement = RepairMeasurement(
            name, programs, lambda folder: _finds(folder, models.models, runner),
            limit_s=seconds or math.inf, tell=notice, on_part=keep_parts(json_out),
        )  # fmt: skip
        present(run_measurement(measurement), json_out, None)


def agent_demo(
    *,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="So many demonstrations, seeds from 0.")] = 5,
    model: ModelOption = None,
    json_out: JsonOutOption = None,
) -> None:
    """The demonstration of the agent, offline, one process a seed: fixed or not, and seconds."""
    from vortex.bench.agent_demo import AgentDemoMeasurement
    from vortex.bench.measurement import run_measurement
    from vortex.cli.terminal import notice

    options = ("--model", model) if model else ()
    present(run_measurement(AgentDemoMeasurement(range(seeds), options, notice)), json_out, None)


def _finds(folder: Path, models: Models, runner: asyncio.Runner) -> Sequence[Find]:
    """Everything that a repair found plausible; nothing where it found nothing to do."""
    from vortex.agent.confinement import Walls
    from vortex.agent.repair.judge import Judge, JudgeOptions
    from vortex.agent.repair.pipeline import Repair, RepairOptions
    from vortex.agent.working_copy import WorkingCopy
    from vortex.bench.repair.measure import Find
    from vortex.errors import AgentStopped

    with WorkingCopy(folder) as copy:
        options = RepairOptions(stage_limit_s=45, total_limit_s=90, runners_up=0)
        judge = Judge(copy, Walls(), JudgeOptions(test_limit_s=1.0, observe_limit_s=40.0))
        repair = Repair(copy, judge, models, options, tell=lambda *_: None)
        try:
            pool = runner.run(repair.run("repair")).pool
        except AgentStopped:
            return []
    return [Find(one.change.text, one.gain, one.size_chars, one.change.kind) for one in pool]
