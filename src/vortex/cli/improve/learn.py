"""`vortex learn`: what was corrected becomes a candidate; a person looks at it, approves it, and can take it back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vortex.cli.command_options import with_options
from vortex.cli.options import JsonOption, ModelOption, ProfileOption, SetOption

if TYPE_CHECKING:
    from vortex.config.loading import LoadedSettings
    from vortex.learn.candidates.gates import Gate
    from vortex.learn.candidates.making import Made

RunArgument = Annotated[str | None, typer.Argument(metavar="RUN", help="A run's id or its beginning; the newest.")]
QuickOption = Annotated[bool, typer.Option("--quick", help="Measure on a few questions; for trying out.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Learn from corrections, behind gates, with your approval.", no_args_is_help=True)
    group.command("ingest")(ingest)
    group.command("train")(with_options(train))
    group.command("eval")(evaluate)
    group.command("show")(show)
    group.command("list")(list_runs)
    group.command("diff")(diff)
    group.command("status")(status)
    group.command("approve")(approve)
    group.command("promote")(promote)
    group.command("rollback")(rollback)
    group.command("reject")(reject)
    app.add_typer(group, name="learn", rich_help_panel="Improve")


@dataclass(frozen=True, slots=True, kw_only=True)
class Train:
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Most steps.")] = None
    minutes: Annotated[float | None, typer.Option("--minutes", min=0, help="Most minutes; 0: no limit.")] = None
    seed: Annotated[int | None, typer.Option("--seed", min=0)] = None
    again: Annotated[bool, typer.Option("--again", help="Also where nothing is new.")] = False
    quick: QuickOption = False
    profile: ProfileOption = None
    model: ModelOption = None
    as_json: JsonOption = False
    set_: SetOption = None


def ingest(
    paths: Annotated[list[Path] | None, typer.Argument(help="Files and folders; corrections are taken always.")] = None,
    *,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Take in corrections, and lessons and text of files: JSON lines, text, Markdown, PDF, HTML.

    With continuous.ingest_web also pages of allowed domains; what learnt from those is never promoted by itself.
    """
    from vortex.cli import learning
    from vortex.cli.composition import settings_for
    from vortex.cli.terminal import notice, print_json

    taken, left_out = learning.ingest(paths or [], settings_for(profile, set_).settings)
    for file, reason in left_out[:20]:
        notice(f"left out: {file}: {reason}")
    if as_json:
        print_json({**taken.to_json(), "left_out": len(left_out)})
        return
    held = "".join(f"; held back: {count} with {what}" for what, count in taken.held.items())
    near = f"; {taken.near} nearly the same as others" if taken.near else ""
    quota = f"; {taken.over_quota} over their source's quota" if taken.over_quota else ""
    typer.echo(f"{taken.added} rows added, {taken.known} were known{near}{quota}{held}")


def train(options: Train) -> None:
    """Train a candidate on what was corrected, into quarantine. Nothing is promoted.

    Examples:

      vortex learn train --steps 50

      vortex learn train --profile qwen8b_train --steps 50 --json
    """
    from vortex.cli import learning

    loaded = training_settings(options)
    learning.ingest([])
    made = learning.train(loaded, learning.SMALL if options.quick else learning.Sizes(), again=options.again)
    tell(made, as_json=options.as_json)


def training_settings(options: Train) -> LoadedSettings:
    from vortex.cli.composition import settings_for

    flags = {
        "model.name": options.model,
        "continuous.steps": options.steps,
        "continuous.minutes": options.minutes,
        "continuous.seed": options.seed,
    }
    return settings_for(options.profile, options.set_, flags)


def tell(made: Made, *, as_json: bool) -> None:
    """What was made; the last line names the run."""
    import json

    from vortex.cli.terminal import notice
    from vortex.learn.candidates.gates import failures

    manifest, closed = made.manifest, failures(made.gates)
    if as_json:
        found = {
            "run_id": manifest.run_id,
            "hash": manifest.hash,
            "folder": str(manifest.folder),
            "model": manifest.model,
            "gates": [gate.to_json() for gate in made.gates],
            "closed_gates": closed,
        }
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    _print_gates(made.gates)
    if closed:
        notice(f"its gates are closed: {'; '.join(closed)}")
    else:
        notice(f"to approve it: vortex learn show {manifest.run_id}")
    typer.echo(f"run_id: {manifest.run_id}")


def evaluate(
    run: RunArgument = None, *, profile: ProfileOption = None, as_json: JsonOption = False, quick: QuickOption = False,
    set_: SetOption = None,
) -> None:  # fmt: skip
    """Measure a candidate again, as it is served now; its sealed report stays as it is."""
    from dataclasses import replace

    from vortex.cli import learning
    from vortex.cli.composition import settings_for
    from vortex.cli.terminal import print_json, working
    from vortex.learn.candidates.again import measure_again
    from vortex.learn.candidates.gates import failures

    runs = learning.open_runs()
    folder = runs.folder(run or runs.latest())
    loaded = settings_for(profile, set_, {"model.name": _model_of(folder)})
    sizes = learning.SMALL if quick else learning.Sizes()
    with learning.opened_pupil(loaded) as pupil, working("measuring", lines_every_s=15) as say:
        gates = measure_again(
            folder, pupil, learning.plan_of(loaded, pupil.served, replace(sizes, kept_prompts=0), [], say), say
        )
    if as_json:
        print_json(
            {"run_id": folder.name, "gates": [gate.to_json() for gate in gates], "closed_gates": failures(gates)}
        )
    else:
        _print_gates(gates)


def show(run: RunArgument = None, *, as_json: JsonOption = False) -> None:
    """Say all about a candidate: gates, answers before you approve, and the hash that APPROVE.txt must hold."""
    from vortex.cli import learning
    from vortex.cli.terminal import print_json
    from vortex.learn.candidates.gates import read_gates
    from vortex.learn.candidates.manifest import APPROVAL_FILE, EVALUATION_FILE, verify
    from vortex.learn.candidates.runs import report_of

    runs = learning.open_runs()
    folder = runs.folder(run or runs.latest())
    manifest, state = verify(folder), runs.state(folder.name)
    if as_json:
        print_json({**state.to_json(), "folder": str(folder), **report_of(manifest)})
        return
    typer.echo(f"{manifest.run_id}: {state.state}, for {manifest.model}, made {state.created}")
    _print_gates(read_gates(folder / EVALUATION_FILE))
    report = report_of(manifest)
    for one in report["doubts"]:
        if one["reasons"]:
            told = f"{one['question']} -> {one['statement'][:90]!r} (the model alone: {one['own_answer'][:60]!r})"
            typer.echo(f"doubt  {', '.join(one['reasons'])}: {told}")
    for one in report["answers"]:
        typer.echo(
            f"{'right' if one['right'] else 'WRONG':6}{one['kind']:11} {one['question']} -> {one['answer'][:90]!r}"
        )
    typer.echo(f"hash: {manifest.hash}")
    typer.echo(
        f"to approve it: echo {manifest.hash} > {folder / APPROVAL_FILE} (or: vortex learn approve {folder.name} "
        f"--hash {manifest.hash}), then vortex learn promote {folder.name}"
    )


def list_runs(as_json: JsonOption = False) -> None:
    """List the runs with what became of them."""
    from vortex.cli import learning
    from vortex.cli.terminal import print_json

    states = learning.open_runs().states()
    if as_json:
        print_json({"runs": [state.to_json() for state in states]})
        return
    for state in states:
        about = state.reason or (f"closed: {', '.join(one.split()[0] for one in state.closed)}" if state.closed else "")
        typer.echo(f"{state.run_id}  {state.state:10}  {state.model}  {about}")
    if not states:
        typer.echo("No runs yet. Make one: vortex learn train")


def diff(
    one: Annotated[str, typer.Argument(metavar="RUN")], other: RunArgument = None, *, as_json: JsonOption = False
) -> None:
    """Compare two runs: rows, recipe, gates, answers."""
    from vortex.cli import learning
    from vortex.cli.terminal import print_json
    from vortex.learn.candidates.again import differences
    from vortex.learn.candidates.manifest import verify

    runs = learning.open_runs()
    found = differences(verify(runs.folder(one)), verify(runs.folder(other or runs.latest())))
    if as_json:
        print_json(found)
        return
    for line in _lines(found):
        typer.echo(line)


def status(as_json: JsonOption = False) -> None:
    """Say what is waiting: lessons, rows for a person to decide, runs, what answers now, the last of the journal."""
    from vortex.cli import learning
    from vortex.cli.terminal import print_json

    runs, found = learning.open_runs(), learning.material()
    lines = list(runs.journal.entries())[-8:]
    held = [{"question": row.question, "statement": row.statement[:200], "why": why} for row, why in found.held]
    states = runs.states()
    if as_json:
        print_json(
            {
                "lessons": len(found.lessons),
                "texts": len(found.texts),
                "held": held,
                "runs": [state.to_json() for state in states],
                "journal": lines,
            }
        )
        return
    current = next((state.run_id for state in states if state.state == "current"), "none: the model answers alone")
    typer.echo(f"lessons {len(found.lessons)}, running text {len(found.texts)}, runs {len(states)}, current {current}")
    for one in held:
        typer.echo(f"held back ({one['why']}): {one['question']} -> {one['statement']}")
    for line in lines:
        told = ", ".join(f"{key} {value}" for key, value in line.items() if key not in {"time", "event"})
        typer.echo(f"{line['time']}  {line['event']}  {told}")


def approve(
    run: Annotated[str, typer.Argument(metavar="RUN")],
    digest: Annotated[str, typer.Option("--hash", help="Of the candidate you have looked at, as `learn show` prints.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Approve the candidate whose hash you name: the same as writing its APPROVE.txt. Promotes nothing."""
    from vortex.cli import learning
    from vortex.cli.composition import settings_for
    from vortex.cli.terminal import print_json
    from vortex.learn.candidates.promotion import Seen

    manifest = learning.promotion_for(settings_for()).approve(run, Seen(digest))
    if as_json:
        print_json({"run_id": manifest.run_id, "hash": manifest.hash, "approved": True})
    else:
        typer.echo(f"{manifest.run_id} is approved; let it answer: vortex learn promote {manifest.run_id}")


def promote(
    run: RunArgument = None, *, profile: ProfileOption = None, as_json: JsonOption = False, set_: SetOption = None
) -> None:
    """Let an approved candidate answer from the next request on; a running server needs no restart."""
    from vortex.cli import learning
    from vortex.errors import CandidateRefused

    runs = learning.open_runs()
    if run is None:
        approved = [state.run_id for state in runs.states() if state.state == "approved"]
        if not approved:
            raise CandidateRefused("no candidate is approved; look at one with: vortex learn show")
        run = approved[-1]
    promote_run(run, profile, set_, as_json=as_json)


def promote_run(run: str, profile: str | None, assignments: list[str] | None, *, as_json: bool) -> None:
    from dataclasses import asdict

    from vortex.cli import learning
    from vortex.cli.composition import settings_for
    from vortex.cli.terminal import print_json

    moved = learning.promotion_for(settings_for(profile, assignments)).promote(run)
    if as_json:
        print_json(asdict(moved))
    else:
        typer.echo(
            f"{moved.model} answers with {moved.run_id} now (before: {moved.before}); vortex learn rollback undoes it"
        )


def rollback(
    to: Annotated[str | None, typer.Option("--to", help="A run promoted before, or base; else the one before.")] = None,
    *,
    profile: ProfileOption = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Go back to what answered before, byte for byte."""
    from dataclasses import asdict

    from vortex.cli import learning
    from vortex.cli.composition import resolve_model, settings_for
    from vortex.cli.terminal import print_json

    loaded = settings_for(profile, set_, {"model.name": model})
    moved = learning.promotion_for(loaded).rollback(resolve_model(loaded).name, to)
    if as_json:
        print_json(asdict(moved))
    else:
        typer.echo(f"{moved.model} answers with {moved.run_id} again (before: {moved.before})")


def reject(
    run: Annotated[str, typer.Argument(metavar="RUN")],
    reason: Annotated[str, typer.Option("--reason", help="Kept with the run.")] = "rejected by a person",
) -> None:
    """Say that a candidate is never to be promoted."""
    from vortex.cli import learning
    from vortex.cli.composition import settings_for

    learning.promotion_for(settings_for()).reject(run, reason)
    typer.echo(f"{run} is rejected: {reason}")


def _model_of(folder: Path) -> str:
    from vortex.learn.candidates.manifest import read_manifest

    return read_manifest(folder).model


def _print_gates(gates: list[Gate]) -> None:
    for gate in gates:
        value = "not measured" if gate.value is None else f"{gate.value:.4g}"
        sign = ">=" if gate.to_json()["at_least"] else "<="
        typer.echo(
            f"{'open' if gate.passed else 'CLOSED':7}{gate.name:12}{value:>13} {sign} {gate.limit:g}  {gate.note}"
        )


def _lines(found: dict[str, Any]) -> list[str]:
    lines = []
    for part, values in found.items():
        for key, value in values.items():
            lines.append(f"{part:8} {key}: {value}")
    return lines or ["no difference"]
