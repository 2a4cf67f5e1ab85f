"""`vortex agent-demo`: a repository with a bug, its documents opened, the bug fixed, its tests run. Offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vortex.cli.options import JsonOption, ModelOption, ProfileOption, SetOption


def register(app: typer.Typer) -> None:
    app.command("agent-demo", rich_help_panel="Agent")(agent_demo)


def agent_demo(
    *,
    seed: Annotated[int | None, typer.Option("--seed", help="Which bug; drawn, and said, where none is given.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", file_okay=False, help="Make the repository here, and keep it.")
    ] = None,
    profile: ProfileOption = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Watch the agent mend a bug: it makes a small repository, reads its documents, fixes it and runs its tests.

    Examples:

      vortex agent-demo

      vortex agent-demo --seed 3 --folder /tmp/demo
    """
    import secrets
    import tempfile
    from contextlib import ExitStack

    from vortex.errors import AgentStopped

    if seed is None:
        seed = secrets.randbelow(10_000)
    with ExitStack() as stack:
        if folder is None:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vortex-demo-"))) / "repository"
        else:
            place = folder
        place.mkdir(parents=True, exist_ok=True)
        if any(place.iterdir()):
            raise AgentStopped(f"{place} is not empty; name a folder that is new or empty")
        passed = _show(seed, place, (profile, model, set_), as_json=as_json)
    raise typer.Exit(0 if passed else 1)


def _show(seed: int, folder: Path, chosen: tuple[str | None, str | None, list[str] | None], *, as_json: bool) -> bool:
    import asyncio
    import time

    from vortex.agent.confinement import Walls
    from vortex.agent.demo import demo_for, make_repository
    from vortex.agent.led import LedOptions, apply_patch, repair_folder
    from vortex.agent.repair.judge import Judge
    from vortex.agent.working_copy import WorkingCopy
    from vortex.cli.agent.models import opened_models
    from vortex.cli.agent.telling import Teller
    from vortex.cli.composition import settings_for

    began_s = time.monotonic()
    profile, model, set_ = chosen
    teller = Teller(as_json=as_json)
    demo = demo_for(seed)
    kept = make_repository(demo, folder)
    teller.tell("repository", f"seed {seed}: {demo.name}.py in {folder}{'' if kept else ' (no git here)'}")
    with (
        asyncio.Runner() as runner,
        opened_models(settings_for(profile, set_, {"model.name": model}), runner) as models,
    ):
        teller.tell("model", f"{models.name}, {'ranks what mutations propose' if models.is_weak else 'proposes'}")
        report = runner.run(repair_folder(folder, "Fix failing test", models.models, LedOptions(), teller.tell))
        if report.patch is None:
            teller.end({"seed": seed, "passed": False, "seconds": round(time.monotonic() - began_s, 1)})
            return False
        teller.patch(report.patch)
        apply_patch(report.patch, folder)
        with WorkingCopy(folder) as copy:
            after = Judge(copy, Walls()).observe()[0]
    passed = bool(after.tests) and not after.failing
    teller.tell("tests", f"{len(after.passing)} of {len(after.tests)} pass")
    seconds = round(time.monotonic() - began_s, 1)
    teller.end({"seed": seed, "passed": passed, "seconds": seconds, "patch": report.patch.as_json()})
    return passed
