"""`vortex agent-editor`: the agent for an editor that speaks the Agent Client Protocol, over standard streams."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vortex.cli.options import BackendOption, ModelOption, ProfileOption, SetOption

if TYPE_CHECKING:
    from vortex.agent.authority import Confirm
    from vortex.agent.editor import Worker
    from vortex.agent.loop import Tell
    from vortex.agent.task import TaskResult
    from vortex.cli.agent.models import OpenedModels


def register(app: typer.Typer) -> None:
    app.command("agent-editor", rich_help_panel="Agent")(agent_editor)


def agent_editor(
    *,
    profile: ProfileOption = None,
    model: ModelOption = None,
    backend: BackendOption = None,
    set_: SetOption = None,
) -> None:
    """Serve one editor over the Agent Client Protocol; the editor starts this command and asks before files change.

    Examples:

      {"agent_servers": {"Vortex": {"command": "vortex", "args": ["agent-editor"]}}}      in Zed's settings
    """
    import asyncio

    from vortex import __version__
    from vortex.agent.editor import serve_editor
    from vortex.cli.agent.models import opened_models
    from vortex.cli.composition import settings_for

    loaded = settings_for(profile, set_, {"model.name": model, "model.backend": backend})
    with asyncio.Runner() as runner, opened_models(loaded, runner) as models:
        runner.run(serve_editor(_worker(models), __version__))


def _worker(models: OpenedModels) -> Worker:
    from vortex.agent.authority import Authority
    from vortex.agent.led import LedOptions
    from vortex.agent.repair.pipeline import RepairOptions
    from vortex.agent.roles import declared, role_policy
    from vortex.agent.task import Task, TaskOptions, named_tests

    async def work(folder: Path, prompt: str, confirm: Confirm, tell: Tell) -> TaskResult:
        policy = role_policy(folder)
        name, words = declared(prompt)
        role = policy.role(name) if name is not None else None
        authority = Authority(policy=policy, role=role, confirm=confirm)
        repair = RepairOptions(tests=named_tests(words, folder))
        options = TaskOptions(is_weak=models.is_weak, led=LedOptions(repair=repair))
        return await Task(folder, models.models, authority, options, tell).run(words)

    return work
