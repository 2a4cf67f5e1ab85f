"""`vortex bench first-answers`: see bench/first_answers.py."""

from __future__ import annotations

from typing import Annotated

import typer

from vortex.cli.bench.presenting import JsonOutOption, present
from vortex.cli.options import BackendOption, ModelOption, ProfileOption, SetOption


def first_answers(
    *,
    profile: ProfileOption = None,
    model: ModelOption = None,
    backend: BackendOption = None,
    questions: Annotated[int, typer.Option(min=2, max=50, help="How many, of both languages in turn.")] = 50,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 200,
    show: Annotated[bool, typer.Option("--show", help="Print each question and answer.")] = False,
    json_out: JsonOutOption = None,
    set_: SetOption = None,
) -> None:
    """Fifty ordinary first questions, half of them Spanish: how many answers loop, how many are right."""
    import asyncio

    from vortex.bench.first_answers import FirstAnswer, FirstAnswersMeasurement
    from vortex.bench.measurement import run_measurement
    from vortex.cli.composition import open_backend, settings_for, with_manners
    from vortex.cli.terminal import notice
    from vortex.cli.turn import request_for
    from vortex.types import ChatMessage

    loaded, _ = with_manners(settings_for(profile, set_, {"model.name": model, "model.backend": backend}))

    def tell(answer: FirstAnswer) -> None:
        if show:
            notice(f"{'loops ' if answer.loops else ''}{answer.question} -> {answer.text!r}")

    opened = open_backend(loaded)
    with asyncio.Runner() as runner:
        measurement = FirstAnswersMeasurement(
            opened,
            runner,
            loaded.settings.model.name,
            lambda question: request_for(
                [ChatMessage(role="user", content=question)], loaded.settings, 0, max_new_tokens
            ),
            questions,
            tell,
        )
        try:
            present(run_measurement(measurement), json_out, None)
        finally:
            runner.run(opened.close())
