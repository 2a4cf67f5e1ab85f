"""`vortex doctor`: what this machine can run, and what is missing.

Exit code 0 when everything works (perhaps with notes), 6 when something is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vortex.cli.options import BackendOption, JsonOption, ModelOption, ProfileOption, SetOption

if TYPE_CHECKING:
    from vortex.cli.doctor.checkup import Finding

MARKS = {"ok": "[green]ok[/green]     ", "note": "[yellow]note[/yellow]   ", "missing": "[red]missing[/red]"}


def register(app: typer.Typer) -> None:
    app.command("doctor", rich_help_panel="Look around")(doctor)


def doctor(
    *,
    profile: ProfileOption = None,
    model: ModelOption = None,
    backend: BackendOption = None,
    deep: Annotated[bool, typer.Option("--deep", help="Also load the model, check its arithmetic, measure.")] = False,
    mock: Annotated[bool, typer.Option("--mock", help="With a model without weights: nothing is fetched.")] = False,
    as_json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """See what this machine can run and what is missing.

    --deep fetches the profile's model if it is not here, compares its logits with a stored reference, and measures
    decoding, memory and disk: about half a minute.
    """
    from vortex.cli.composition import settings_for
    from vortex.cli.doctor.checkup import Status, look_around
    from vortex.cli.terminal import print_json

    backend = "hash" if mock else backend
    loaded = settings_for(profile, set_, {"model.name": model, "model.backend": backend})
    findings = []
    for finding in look_around(loaded):
        findings.append(finding)
        _show(finding, as_json=as_json)
    if deep and not any(finding.status is Status.MISSING for finding in findings):
        from vortex.cli.doctor.checkup_deep import examine

        for finding in examine(loaded):
            findings.append(finding)
            _show(finding, as_json=as_json)
    healthy = all(finding.status is not Status.MISSING for finding in findings)
    if as_json:
        print_json({"ok": healthy, "profile": loaded.profile, "findings": [f.as_json() for f in findings]})
    if not healthy:
        from vortex.errors import MissingCapability

        raise typer.Exit(MissingCapability.exit_code)


def _show(finding: Finding, *, as_json: bool) -> None:
    if as_json:
        return
    from rich.markup import escape

    from vortex.cli.terminal import output

    line = f"{MARKS[finding.status]} [bold]{escape(finding.name):18}[/bold] {escape(finding.detail)}"
    console = output()
    console.print(line, highlight=False, soft_wrap=True)
    if finding.fix:
        console.print(f"        {'':18} → {escape(finding.fix)}", highlight=False, soft_wrap=True)
