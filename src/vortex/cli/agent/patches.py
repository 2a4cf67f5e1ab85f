"""`vortex self-patch` and `vortex apply-patch`: changes of the program itself, proposed by it, let in by a person."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vortex.cli.options import JsonOption, ModelOption, ProfileOption, SetOption

if TYPE_CHECKING:
    from vortex.agent.self_patch.propose import Proposal
    from vortex.cli.agent.telling import Teller

IdArgument = Annotated[str, typer.Argument(help="The patch's id, or the beginning of it.", metavar="ID")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Propose changes of the program itself; a person lets them in.", invoke_without_command=True
    )
    group.callback()(self_patch)
    group.command("list")(list_patches)
    group.command("show")(show_patch)
    group.command("reject")(reject_patch)
    app.add_typer(group, name="self-patch", rich_help_panel="Agent")
    app.command("apply-patch", rich_help_panel="Agent")(apply_patch)


def self_patch(
    context: typer.Context,
    *,
    goal: Annotated[str | None, typer.Option("--goal", help="What the change is for.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the patch; queue nothing.")] = False,
    test: Annotated[
        list[str] | None, typer.Option("--test", help="Tests that judge; else those beside the change. Repeatable.")
    ] = None,
    profile: ProfileOption = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Propose a change of this repository, made and tested in a worktree of its last commit. Nothing here changes.

    Examples:

      vortex self-patch --goal "fix failing test" --dry-run

      vortex self-patch list
    """
    import asyncio

    from vortex.cli.agent.models import opened_models
    from vortex.cli.agent.telling import Teller
    from vortex.cli.composition import settings_for
    from vortex.errors import ConfigError

    if context.invoked_subcommand is not None:
        return
    if not goal or not goal.strip():
        raise ConfigError("self-patch needs --goal with what the change is for, or a command: list, show, reject")
    teller = Teller(as_json=as_json)
    loaded = settings_for(profile, set_, {"model.name": model})
    with asyncio.Runner() as runner, opened_models(loaded, runner) as models:
        teller.tell("model", f"{models.name}, {'ranks what mutations propose' if models.is_weak else 'proposes'}")
        proposal = runner.run(_propose(goal.strip(), tuple(test or ()), models, teller, dry_run=dry_run))
    raise typer.Exit(_show(proposal, teller, dry_run=dry_run))


async def _propose(goal: str, tests: tuple[str, ...], models: Any, teller: Teller, *, dry_run: bool) -> Proposal:
    from vortex.agent.confinement import Walls
    from vortex.agent.repair.judge import Judge, JudgeOptions
    from vortex.agent.self_patch.propose import propose
    from vortex.agent.self_patch.queue import PatchQueue
    from vortex.agent.self_patch.worker import worker_for
    from vortex.cli.agent.state import patches_folder

    limits = JudgeOptions(test_limit_s=20.0, observe_limit_s=600.0)
    return await propose(
        Path.cwd(),
        tests,
        worker_for(goal, models.models, limits, teller.tell),
        lambda copy: Judge(copy, Walls(), limits),
        queue=None if dry_run else PatchQueue(patches_folder()),
    )


def _show(proposal: Proposal, teller: Teller, *, dry_run: bool) -> int:
    if proposal.dirty:
        teller.tell("note", "what is not committed here was not seen: the patch is of the last commit")
    if proposal.patch is None:
        teller.tell("nothing", "no change was found; a larger model (--model) or a failing test (--test) may help")
    else:
        teller.patch(proposal.patch)
    for why in proposal.objections:
        teller.tell("refused", why)
    for name in proposal.failing:
        teller.tell("fails", name)
    good = proposal.patch is not None and not proposal.objections and not proposal.failing
    if good and proposal.patch is not None and not teller.as_json:
        how = (
            "a dry run queues nothing" if dry_run else f"`vortex apply-patch {proposal.patch.id} --approve` lets it in"
        )
        teller.tell("proposed", how)
    teller.end(
        {
            "passed": good,
            "queued": proposal.queued.id if proposal.queued else None,
            "patch": proposal.patch.id if proposal.patch else None,
            "base": proposal.base,
            "objections": list(proposal.objections),
            "failing": list(proposal.failing),
            "tests": list(proposal.tests),
            "dry_run": dry_run,
        }
    )
    return 0 if good else 1


def list_patches(*, as_json: JsonOption = False) -> None:
    """Patches in the queue, and how each stands."""
    from vortex.cli.terminal import print_json

    for one in _queue().all():
        if as_json:
            print_json({key: value for key, value in one.as_json().items() if key not in {"diff", "runners_up"}})
        else:
            typer.echo(f"{one.id}  {one.state:<9} {', '.join(one.notes.get('paths', []))}  {one.notes.get('goal', '')}")


def show_patch(identifier: IdArgument, *, as_json: JsonOption = False) -> None:
    """One patch: what speaks for it, and its diff."""
    from vortex.cli.terminal import print_json, write_answer

    one = _queue().get(identifier)
    if as_json:
        print_json(one.as_json())
        return
    typer.echo(f"{one.id}  {one.state}  {one.notes.get('verdict', '')}", err=True)
    write_answer(one.diff)


def reject_patch(
    identifier: IdArgument,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the patch.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Refuse a patch for good."""
    from vortex.cli.terminal import print_json
    from vortex.errors import AgentStopped

    queue = _queue()
    with queue.deciding():
        one = queue.get(identifier)
        if one.state == "applied":
            raise AgentStopped(f"patch {one.id} is applied on {one.notes.get('branch')}; revert it there")
        marked = queue.mark(one, "rejected", reason=reason)
    if as_json:
        print_json({"id": marked.id, "state": marked.state, "reason": reason})
    else:
        typer.echo(f"{marked.id} rejected")


def apply_patch(
    identifier: IdArgument,
    *,
    approve: Annotated[bool, typer.Option("--approve", help="You have read the diff and let it in.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Let a proposed patch in, on a branch of its own; your checkout is not touched. Without --approve: show it.

    Examples:

      vortex apply-patch 3f2a9c --approve
    """
    from vortex.agent.self_patch.apply import apply_queued, check
    from vortex.cli.terminal import notice, print_json, write_answer

    queue = _queue()
    one = queue.get(identifier)
    check(one)
    if not approve:
        if as_json:
            print_json({**one.as_json(), "approved": False})
        else:
            write_answer(one.diff)
            notice(f"nothing is applied yet: read it, then `vortex apply-patch {one.id} --approve`")
        raise typer.Exit(1)
    with queue.deciding():
        one = queue.get(one.id)
        check(one)
        applied = apply_queued(Path.cwd(), queue, one)
    if as_json:
        print_json(
            {"id": one.id, "approved": True, "branch": applied.branch, "commit": applied.commit,
             "merge": applied.merge, "revert": applied.revert}
        )  # fmt: skip
        return
    notice(f"on branch {applied.branch}, commit {applied.commit[:12]}")
    notice(f"take it in: {applied.merge}")
    notice(f"take it back: {applied.revert} (or before merging: git branch -D {applied.branch})")


def _queue() -> Any:
    from vortex.agent.self_patch.queue import PatchQueue
    from vortex.cli.agent.state import patches_folder

    return PatchQueue(patches_folder())
