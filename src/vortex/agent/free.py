"""Free mode: the model leads, with tools on a copy of the folder; what it changed there becomes a patch.

The guard around the toolbox is the policy that text in files cannot talk around: an edit of a path that this run may
not change is refused in the copy already; commands, memory, the web and other programs' tools need a person for each
call, unless a person allowed one by name, and then only until words from outside were read. So a model that
obeys a file's instruction can, at worst, make a patch that the authority refuses or a person reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vortex.agent.authority import Authority
from vortex.agent.confinement import Walls
from vortex.agent.loop import Loop, LoopOptions, Stop, Tell, context_of
from vortex.agent.patch import Evidence, FileChange, Patch
from vortex.agent.repair.judge import Judge, JudgeOptions
from vortex.agent.tools.commands import command_tools
from vortex.agent.tools.files import file_tools
from vortex.agent.tools.knowing import document_tool
from vortex.agent.tools.tool import Effect, Tool, ToolResult
from vortex.agent.tools.toolbox import DEFAULTS, Permission, Show, Toolbox, nobody, permissions_given
from vortex.agent.tools.workspace import Workspace
from vortex.agent.trajectory import Trajectory, head, name_of
from vortex.agent.working_copy import WorkingCopy, files_of
from vortex.protocols import ChatBackend
from vortex.types import ToolSpec

MAX_FAILURE_CHARS = 1500
CLOCK = re.compile(r" in \d+\.\d+s(?: \(\d+:\d+:\d+\))?")  # a second run says the same bytes without it
FREE_EFFECTS: Mapping[Effect, Permission] = {
    **DEFAULTS,
    Effect.WRITE: Permission.ALLOW,  # in the copy; the authority decides about the folder
    Effect.REMEMBER: Permission.ASK,  # what a file says must not reach later conversations by itself
    Effect.NETWORK: Permission.ASK,  # an address can carry words out, also to an allowed domain
}
Ask = Callable[[Tool, Mapping[str, Any], str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeOptions:
    """record: the folder of trajectories; None keeps them in memory. ask: a person who answers for commands. show: is
    told every call that reaches beyond the folder, with its arguments. by_effect, by_tool: permissions that differ from
    the usual. tests: those that say that the task is done; all, where empty. further_tools: beside the copy's."""

    loop: LoopOptions = field(default_factory=LoopOptions)
    walls: Walls = field(default_factory=Walls)
    judge: JudgeOptions = field(default_factory=JudgeOptions)
    record: Path | None = None
    ask: Ask = nobody
    show: Show = lambda _tool, _arguments: None
    by_effect: Mapping[Effect, Permission] = field(default_factory=dict)
    by_tool: Mapping[str, Permission] = field(default_factory=dict)
    tests: tuple[str, ...] = ()
    further_tools: tuple[Tool, ...] = ()


@dataclass(frozen=True, slots=True)
class FreeRun:
    """patch: None where nothing was changed."""

    stop: Stop
    patch: Patch | None
    trajectory: Trajectory
    resumed: bool


class GuardedTools:
    """A toolbox behind the authority: paths first, then permissions."""

    def __init__(self, toolbox: Toolbox, authority: Authority) -> None:
        self.toolbox = toolbox
        self._authority = authority
        self.refused: list[tuple[str, str]] = []

    def specs(self) -> tuple[ToolSpec, ...]:
        return self.toolbox.specs()

    def call(self, name: str, arguments: str) -> ToolResult:
        why = self._why_not(name, arguments)
        if why is not None:
            self.refused.append((name, why))
            return ToolResult(why, ok=False)
        result = self.toolbox.call(name, arguments)
        if name in self.toolbox.tools and self.toolbox.tools[name].effect is Effect.TEST:
            result = replace(result, text=CLOCK.sub("", result.text))
        if not result.ok and name in self.toolbox.tools and "not allowed" in result.text:
            self.refused.append((name, result.text))
        return result

    def changes(self, name: str) -> bool:
        tool = self.toolbox.tools.get(name)
        return tool is not None and tool.effect in {Effect.WRITE, Effect.COMMAND}

    def rebuild(self, name: str, arguments: str) -> None:
        tool = self.toolbox.tools.get(name)
        if tool is not None and tool.effect is Effect.WRITE:
            self.call(name, arguments)

    def _why_not(self, name: str, arguments: str) -> str | None:
        tool = self.toolbox.tools.get(name)
        if tool is None or tool.effect is not Effect.WRITE:
            return None
        try:
            path = json.loads(arguments)["path"]
        except (ValueError, KeyError, TypeError):
            return None  # the toolbox says what is wrong with it
        return self._authority.why_not(path.removeprefix("./")) if isinstance(path, str) else None


async def work_freely(
    folder: Path,
    task: str,
    backend: ChatBackend,
    *,
    authority: Authority,
    options: FreeOptions,
    tell: Tell,
) -> FreeRun:
    """Until the loop stops. The folder itself is not written to."""
    context = await context_of(backend)
    first = head(
        task=task,
        role=authority.role.name if authority.role else None,
        model=options.loop.model,
        seed=options.loop.seed,
        context=context,
        steps=options.loop.budget.steps,
        answer_tokens=options.loop.budget.answer_tokens,
        **_joined(options),
    )
    place = options.record / f"{name_of({**first, 'folder': str(folder)})}.jsonl" if options.record else None
    trajectory = Trajectory(place)
    if trajectory.is_over:  # an earlier run ended: this is another one
        trajectory.lines.clear()
        if place is not None:
            place.unlink()
    resumed = len(trajectory.lines) > 1
    if not trajectory.lines:
        trajectory.add(first)
    with WorkingCopy(folder) as copy:
        toolbox = toolbox_of(copy, options)
        judge = Judge(copy, options.walls, options.judge)
        loop = Loop(
            backend,
            GuardedTools(toolbox, authority),
            trajectory,
            options.loop,
            verify=lambda: failure_in(judge, options.tests),
            tell=tell,
        )
        stop = await loop.run(task, context)
        patch = patch_of(copy, task, stop)
    return FreeRun(stop, patch, trajectory, resumed)


def toolbox_of(copy: WorkingCopy, options: FreeOptions) -> Toolbox:
    own = tools_of(copy, options)
    names = {tool.name for tool in own}  # another program's tool cannot take the place of one of these
    toolbox = Toolbox.of([*own, *(tool for tool in options.further_tools if tool.name not in names)], ask=options.ask)
    toolbox.by_effect = {**FREE_EFFECTS, **options.by_effect}
    toolbox.by_tool, toolbox.show = options.by_tool, options.show
    return toolbox


def _joined(options: FreeOptions) -> dict[str, Any]:
    """What differs from a usual run, for a trajectory's first line: a replay offers the same tools (`joined_of`)."""
    found: dict[str, Any] = {}
    if options.further_tools:
        found["joined"] = [{**asdict(tool.spec()), "effect": tool.effect} for tool in options.further_tools]
    permissions: dict[str, Permission] = {effect.value: one for effect, one in options.by_effect.items()}
    permissions |= options.by_tool
    return {**found, "permissions": permissions} if permissions else found


def joined_of(first: Mapping[str, Any]) -> FreeOptions:
    """Options that offer a model what the run of this first line offered; its further tools do nothing."""
    words = {word: Permission(one) for word, one in first.get("permissions", {}).items()}
    by_effect, by_tool = permissions_given(words)
    tools = tuple(
        Tool(one["name"], one["description"], one["parameters"], Effect(one["effect"]), lambda _: ToolResult("again"))
        for one in first.get("joined", ())
    )
    return FreeOptions(by_effect=by_effect, by_tool=by_tool, further_tools=tools)


def tools_of(copy: WorkingCopy, options: FreeOptions) -> list[Tool]:
    """On the copy: files, documents, and programs. No search tool: small models lose themselves in it."""
    workspace = Workspace(folder=copy.folder, require=options.walls.require, log=options.walls.log)
    python = options.judge.python
    test_command = (python, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider")
    tools = [*file_tools(workspace), document_tool(workspace), *command_tools(workspace, test_command)]
    return [tool for tool in tools if tool.name != "search_files"]


def failure_in(judge: Judge, tests: tuple[str, ...]) -> str:
    """What fails, for a model to read; nothing where all pass."""
    observed = judge.observe()[0]
    failing = [name for name in observed.failing if not tests or any(name.startswith(one) for one in tests)]
    if not observed.tests:
        return observed.problem[-MAX_FAILURE_CHARS:] or "no tests were found"
    if not failing:
        return ""
    return f"{', '.join(failing[:5])}\n{observed.tests[failing[0]].message}"[-MAX_FAILURE_CHARS:]


def patch_of(copy: WorkingCopy, goal: str, stop: Stop) -> Patch | None:
    """Every text file that differs between the copy and where it was taken from."""
    changes = []
    before = set(copy.files)
    for name in sorted(before | {name for name in files_of(copy.folder) if "__pycache__" not in name}):
        old = _text(copy.origin / name) if name in before else None
        new = _text(copy.folder / name)
        if old != new:
            changes.append(FileChange(name, old, new))
    if not changes:
        return None
    evidence = Evidence(plausible=stop.done, found_by="free loop")
    return Patch(goal=goal, changes=tuple(changes), evidence=evidence)


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode() if path.is_file() and not path.is_symlink() else None
    except UnicodeDecodeError:
        return None
