"""`vortex agent-run`: a task in the working folder, by a program that leads or a model that is free; asks first."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vortex.cli.options import BackendOption, JsonOption, ModelOption, PermitOption, ProfileOption, SetOption

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from vortex.agent.authority import Authority, Confirm
    from vortex.agent.patch import Patch
    from vortex.agent.task import TaskOptions, TaskResult
    from vortex.agent.tools.tool import Tool
    from vortex.agent.tools.toolbox import Ask, Permission
    from vortex.cli.agent.models import OpenedModels
    from vortex.cli.agent.telling import Teller
    from vortex.cli.tools import JoinedTools
    from vortex.config.loading import LoadedSettings

RoleOption = Annotated[
    str | None,
    typer.Option("--role", help="Whose paths may be changed; a first line 'Rol: …' in the task is the same."),
]
TaskOption = Annotated[str | None, typer.Option("--task", help="What is to be done, in your words.")]
YesToOption = Annotated[
    str | None, typer.Option("--yes-to", help="'reads': reading is allowed and every change is refused.")
]
ModeOption = Annotated[
    str, typer.Option("--mode", help="auto; led: a repair decides every step; free: the model does.")
]
TestOption = Annotated[
    list[str] | None, typer.Option("--test", help="A test that must pass; else all that fail. Repeatable.")
]
HeldOutOption = Annotated[
    list[str] | None, typer.Option("--held-out", help="A test that the search must not see. Repeatable.")
]
StepsOption = Annotated[int, typer.Option("--steps", min=1, help="Most steps of a free run.")]
SecondsOption = Annotated[float, typer.Option("--seconds", min=1, help="Most time of a run.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Of every answer; the same seed gives the same run.")]
ReplayOption = Annotated[
    Path | None, typer.Option("--replay", help="Ask the model again what a trajectory holds, and compare bytes.")
]
AskOption = Annotated[
    str, typer.Option("--ask", help="Where you are asked: terminal; console: `vortex console` (or `vortex calls`).")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Changes inside the folder need no question.")]


def register(app: typer.Typer) -> None:
    app.command("agent-run", rich_help_panel="Agent")(agent_run)


def agent_run(
    *,
    task: TaskOption = None,
    role: RoleOption = None,
    yes: YesOption = False,
    yes_to: YesToOption = None,
    permit: PermitOption = None,
    ask: AskOption = "terminal",
    mode: ModeOption = "auto",
    test: TestOption = None,
    held_out: HeldOutOption = None,
    steps: StepsOption = 40,
    seconds: SecondsOption = 900.0,
    seed: SeedOption = 0,
    replay: ReplayOption = None,
    profile: ProfileOption = None,
    model: ModelOption = None,
    backend: BackendOption = None,
    as_json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Do a task in this folder. Exit code 0: the task's tests pass. Nothing is changed without --yes or your answer.

    Examples:

      vortex agent-run --task "Arregla la prueba que falla" --model qwen2.5-coder-1.5b --yes

      vortex agent-run --role "Gateway Core & Homeostatic Logic" --task "Fix tests/test_gateway.py" --yes
    """
    import asyncio

    from vortex.cli.agent.models import opened_models
    from vortex.cli.agent.telling import Teller
    from vortex.cli.composition import settings_for

    permissions = _check(task, replay, mode, yes_to, ask=ask, permit=permit)
    loaded = settings_for(profile, set_, {"model.name": model, "model.backend": backend})
    teller = Teller(as_json=as_json)
    limits = {"steps": steps, "seconds": seconds, "seed": seed}
    with asyncio.Runner() as runner, opened_models(loaded, runner) as models:
        if replay is not None:
            raise typer.Exit(runner.run(_replay(replay, models, limits, teller)))
        assert task is not None, "checked above"
        asking = Asking.of(ask, teller, as_json=as_json)
        words, authority = _authority(task, role, yes and yes_to is None, asking.confirm if yes_to is None else None)
        chosen = {**limits, "mode": mode, "tests": tuple(test or ()), "held_out": tuple(held_out or ()), "ask": asking}
        with _joined(loaded, permissions, models, mode) as joined:
            options = _options(words, models, chosen, joined, teller)
            result = runner.run(_run(words, models, authority, options, teller))
    raise typer.Exit(0 if result.passed else 1)


@dataclass(frozen=True, slots=True)
class Asking:
    """How a person is asked: for the change that a task made, and for calls of tools. None: nobody is there."""

    confirm: Confirm | None
    call: Ask | None

    @classmethod
    def of(cls, place: str, teller: Teller, *, as_json: bool) -> Asking:
        if place == "console":
            from vortex.cli.console.questions import ask_elsewhere, confirm_elsewhere

            return cls(confirm_elsewhere(teller.tell), ask_elsewhere(teller.tell))
        if sys.stdin.isatty() and sys.stderr.isatty():
            return cls(None if as_json else _ask_person, _ask_for_call)
        return cls(None, None)


def _check(
    task: str | None, replay: Path | None, mode: str, yes_to: str | None, *, ask: str, permit: list[str] | None
) -> dict[str, Permission]:
    """What --permit says."""
    from vortex.cli.tools import read_permissions
    from vortex.errors import ConfigError

    if (task is None) == (replay is None):
        raise ConfigError("agent-run needs --task with what is to be done, or --replay with a trajectory")
    if mode not in {"auto", "led", "free"}:
        raise ConfigError(f"--mode {mode}: choose auto, led or free")
    if ask not in {"terminal", "console"}:
        raise ConfigError(f"--ask {ask}: choose terminal or console")
    if yes_to not in {None, "reads"}:
        raise ConfigError(f"--yes-to {yes_to}: 'reads' is what can be said; --yes allows changes")
    return read_permissions(permit)


def _authority(task: str, role: str | None, yes: bool, confirm: Confirm | None) -> tuple[str, Authority]:
    from vortex.agent.authority import Authority
    from vortex.agent.roles import declared, role_policy
    from vortex.errors import ConfigError

    policy = role_policy(Path.cwd())
    spoken, words = declared(task)
    if not words:
        raise ConfigError("the task is empty; say what is to be done")
    if role is not None and spoken is not None and policy.role(role) != policy.role(spoken):
        raise ConfigError(f"--role says '{role}' and the task says '{spoken}'; a run has one role")
    name = role or spoken
    chosen = policy.role(name) if name is not None else None
    return words, Authority(policy=policy, role=chosen, yes=yes, confirm=confirm)


def _ask_person(patch: Patch) -> bool:
    from vortex.cli.agent.telling import Teller

    Teller(as_json=False).patch(patch)
    return typer.confirm(f"Change {', '.join(patch.paths)}?", default=False, err=True)


def _ask_for_call(tool: Tool, arguments: Mapping[str, Any], reason: str) -> bool:
    from vortex.cli.terminal import warn

    warn(f"the model wants {tool.name} with {dict(arguments)!r} ({reason})")
    return typer.confirm("Allow it?", default=False, err=True)


def _joined(
    loaded: LoadedSettings, words: Mapping[str, Permission], models: OpenedModels, mode: str
) -> AbstractContextManager[JoinedTools]:
    """Memory, the web and MCP servers: for a run that may become a free one alone."""
    from contextlib import nullcontext

    from vortex.cli.tools import JoinedTools, joined_tools

    may_be_free = mode == "free" or (mode == "auto" and not models.is_weak)
    return joined_tools(loaded.settings, words) if may_be_free else nullcontext(JoinedTools())


def _options(
    words: str, models: OpenedModels, chosen: Mapping[str, Any], joined: JoinedTools, teller: Teller
) -> TaskOptions:
    from vortex.agent.free import FreeOptions
    from vortex.agent.led import LedOptions
    from vortex.agent.loop import Budget, LoopOptions
    from vortex.agent.repair.pipeline import RepairOptions
    from vortex.agent.task import Mode, TaskOptions, named_tests
    from vortex.agent.tools.toolbox import nobody
    from vortex.cli.agent.state import agent_folder

    tests = chosen["tests"] or named_tests(words, Path.cwd())
    repair = RepairOptions(
        tests=tests, held_out=chosen["held_out"], seed=chosen["seed"], total_limit_s=min(chosen["seconds"], 300.0)
    )
    asks = chosen["ask"].call or nobody

    def show(tool: Tool, arguments: Mapping[str, Any]) -> None:
        teller.tell("call", f"{tool.name} {json.dumps(dict(arguments), ensure_ascii=True)}")

    loop = LoopOptions(seed=chosen["seed"], budget=Budget(steps=chosen["steps"], seconds=chosen["seconds"]))
    return TaskOptions(
        mode=Mode(chosen["mode"]),
        is_weak=models.is_weak and chosen["mode"] != "free",
        led=LedOptions(repair=repair),
        free=FreeOptions(
            loop=loop,
            record=agent_folder() / "runs",
            ask=asks,
            show=show,
            by_effect=joined.by_effect or {},
            by_tool=joined.by_tool or {},
            tests=tests,
            further_tools=joined.tools,
        ),
    )


async def _run(words: str, models: OpenedModels, authority: Authority, options: TaskOptions, teller: Any) -> TaskResult:
    import time

    from vortex.agent.task import Task

    began_s = time.monotonic()
    teller.tell("model", f"{models.name}, {'ranks what mutations propose' if models.is_weak else 'proposes'}")
    task = Task(Path.cwd(), models.for_mode(options.mode), authority, options, teller.tell)
    result = await task.run(words)
    if result.patch is not None:
        teller.patch(result.patch)
    if result.refusal:
        teller.tell("not applied", result.refusal)
    teller.end(
        {
            "passed": result.passed,
            "applied": result.applied,
            "refusal": result.refusal,
            "stop": result.stop,
            "steps": result.steps,
            "role": authority.role.name if authority.role else None,
            "trajectory": str(result.trajectory) if result.trajectory else None,
            "patch": result.patch.id if result.patch else None,
            "seconds": round(time.monotonic() - began_s, 1),
        }
    )
    return result


async def _replay(path: Path, models: OpenedModels, limits: Mapping[str, Any], teller: Any) -> int:
    from vortex.agent.free import joined_of, toolbox_of
    from vortex.agent.loop import Budget, LoopOptions
    from vortex.agent.replay import replay
    from vortex.agent.tools.tool import Effect
    from vortex.agent.trajectory import read
    from vortex.agent.working_copy import WorkingCopy
    from vortex.errors import MissingCapability

    recorded = read(path)
    first = recorded.records[0]
    backend = models.backend
    if backend is None:
        raise MissingCapability("a replay asks a model; name the one that made the trajectory with --model")
    budget = Budget(steps=first["steps"], answer_tokens=first["answer_tokens"], seconds=limits["seconds"])
    options = LoopOptions(model=first["model"], seed=first["seed"], budget=budget)
    with WorkingCopy(Path.cwd()) as copy:
        toolbox = toolbox_of(copy, joined_of(first))
    changing = frozenset(tool.name for tool in toolbox.tools.values() if tool.effect in {Effect.WRITE, Effect.COMMAND})
    found = await replay(backend, recorded, options, specs=toolbox.specs(), changing=changing, tell=teller.tell)
    text = f"{found.lines} of {found.total} lines are the same bytes, sha256 {found.digest[:16]}"
    teller.tell("replay", text if found.is_same else f"{text}; {found.difference}")
    teller.end({"passed": found.is_same, "digest": found.digest, "difference": found.difference, "seconds": 0})
    return 0 if found.is_same else 1
