"""The seeds' short ways: `ingest-once`, `train-once`, `self-train --once`, `promote-quarantine --run-id ID`."""

from __future__ import annotations

from typing import Annotated

import typer

from vortex.cli.command_options import with_options
from vortex.cli.improve.learn import Train, ingest, promote_run, train
from vortex.cli.options import JsonOption, ProfileOption, SetOption

PANEL = "Improve"


def register(app: typer.Typer) -> None:
    app.command("ingest-once", rich_help_panel=PANEL)(ingest_once)
    app.command("train-once", rich_help_panel=PANEL)(with_options(train_once))
    app.command("self-train", rich_help_panel=PANEL)(self_train)
    app.command("promote-quarantine", rich_help_panel=PANEL)(promote_quarantine)


def ingest_once(profile: ProfileOption = None, as_json: JsonOption = False, set_: SetOption = None) -> None:
    """Take in the corrections that came since the last time; with continuous.ingest_web also pages of the web."""
    ingest([], profile=profile, as_json=as_json, set_=set_)


def train_once(options: Train) -> None:
    """Train one candidate into quarantine: vortex learn train."""
    train(options)


def self_train(
    once: Annotated[bool, typer.Option("--once", help="One round: ingest, train, stop.")] = False,
    *,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """One round by itself: ingest, train a candidate if there is something new, and leave it in quarantine."""
    from vortex.cli import learning
    from vortex.cli.composition import settings_for
    from vortex.cli.terminal import notice
    from vortex.errors import RequestError

    if not once:
        raise RequestError("give --once: rounds by themselves are the autopilot's")
    found, _ = learning.ingest([], settings_for(profile, set_).settings)
    if not learning.material().lessons:
        notice(f"{found.added} rows came in and none is a lesson to learn; nothing is trained")
        return
    train(Train(profile=profile, as_json=as_json, set_=set_))


def promote_quarantine(
    run_id: Annotated[str, typer.Option("--run-id", help="The run, as `vortex learn list` shows it.")],
    *,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Promote a candidate whose APPROVE.txt holds its hash."""
    promote_run(run_id, profile, set_, as_json=as_json)
