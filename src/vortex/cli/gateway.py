"""`vortex gateway`: runs L-kn; `freeze`, `replay`, `calibrate` beside it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vortex.cli.options import JsonOption

if TYPE_CHECKING:
    from vortex.gateway.settings import GatewaySettings
    from vortex.gateway.study.calibrate import Calibration
    from vortex.gateway.study.replay import Replay
    from vortex.gateway.study.tasks import Task
    from vortex.gateway.study.trial import Trial

EngineOption = Annotated[
    str | None, typer.Option("--engine-url", help="Engine without /v1, several with commas. Default: ENGINE_BASE_URL.")
]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="L-kn: a gateway that spends effort where a request needs it.", invoke_without_command=True
    )
    group.callback()(gateway)
    group.command("freeze")(freeze)
    group.command("replay")(replay)
    group.command("calibrate")(calibrate)
    app.add_typer(group, name="gateway", rich_help_panel="Serve")


def gateway(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: LKN_HOST or 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on. Default: LKN_PORT or 8000.")] = None,
    engine_url: EngineOption = None,
) -> None:
    """Run the gateway in front of any OpenAI-compatible engine. Settings: config/.env and the environment."""
    if context.invoked_subcommand is not None:
        return
    from vortex.gateway.serve import run, settings_from

    run(settings_from(host, port, engine_url))


def freeze(
    *,
    off: Annotated[bool, typer.Option("--off", help="Let the controller move again.")] = False,
    url: Annotated[str | None, typer.Option(help="The running gateway. Default: from LKN_HOST and LKN_PORT.")] = None,
) -> None:
    """Keep the controller's outputs of the running gateway where they are."""
    from vortex.backends.http_get import request_json
    from vortex.config.addresses import environment_and_file, read_addresses

    addresses = read_addresses(*environment_and_file())
    target = f"{url or addresses.gateway_url}/lkn/controller"
    state = request_json(target, body={"frozen": not off}, key=addresses.api_key)
    outputs = state["controller"]
    told = ", ".join(f"{name} {value}" for name, value in outputs.items()) if isinstance(outputs, dict) else outputs
    typer.echo(f"controller {'frozen' if state['frozen'] else 'moving'}: {told}")


def replay(
    file: Annotated[Path, typer.Argument(help="A ledger, for example logs/gateway.jsonl")],
    *,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE", help="Score this policy too, e.g. rule_threshold=0.4. Repeatable."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Decide every request of a ledger again, byte for byte, and score other policies on the same traffic."""
    from vortex.cli.terminal import output, print_json
    from vortex.errors import ConfigError
    from vortex.gateway.study.replay import compare, policies_beside
    from vortex.gateway.study.replay import replay as replay_file

    changes = {}
    for text in set_ or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text}: write FIELD=VALUE")
        changes[name] = value
    result = replay_file(file)
    if not result.requests:
        raise ConfigError(f"{file} holds no request yet: give a ledger of a gateway that has served")
    scores = compare(result.requests, policies_beside(result.requests[-1].policy, changes))
    if as_json:
        print_json({**_summary(result), "policies": [_row(score) for score in scores]})
    else:
        from rich.table import Table

        table = Table("policy", "share ANALITICO", "decided otherwise", "tokens, estimated")
        for score in scores:
            table.add_row(score.name, f"{score.share_analytic:.1%}", str(score.changed), f"{score.tokens:.0f}")
        output().print(table)
        output().print(_said(result), highlight=False)
    if not result.identical:
        raise typer.Exit(1)


def calibrate(
    *,
    tasks: Annotated[int, typer.Option(min=10, help="Labelled tasks, each asked in both modes.")] = 100,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 192,
    parallel: Annotated[int, typer.Option(min=1, help="Tasks at the engine at once.")] = 4,
    seed: Annotated[int, typer.Option(help="Which tasks.")] = 0,
    token_price: Annotated[float, typer.Option(min=0, help="Accuracy that 1000 tokens per request are worth.")] = 0.1,
    synthetic: Annotated[bool, typer.Option(help="Use a built-in engine whose behaviour is known.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Put the fitted thresholds into config/.env.")] = False,
    engine_url: EngineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a labelled set in both modes on your engine and fit the thresholds to it."""
    from vortex.cli.terminal import notice, print_json, warn
    from vortex.gateway.serve import settings_from
    from vortex.gateway.study.calibrate import calibrate as fit
    from vortex.gateway.study.calibrate import variables_of
    from vortex.gateway.study.tasks import make_tasks

    settings = settings_from(None, None, engine_url)
    chosen = make_tasks(tasks, seed)
    trials = asyncio.run(_trials(settings, chosen, max_tokens, parallel, synthetic=synthetic))
    result = fit(trials, settings.decision, token_price)
    lines = variables_of(result.fitted)
    if as_json:
        print_json({**_figures(result), "fitted": lines})
    else:
        _print_calibration(result)
        typer.echo("fitted, for config/.env:\n" + "\n".join(f"  {name}={value}" for name, value in lines.items()))
    if not result.modes_differ:
        warn(f"on this engine the two modes cannot be told apart (p = {result.p_value:.2f}): keep the defaults")
    elif write:
        from vortex.config.addresses import ENV_FILE
        from vortex.config.variables import write_env_file

        write_env_file(ENV_FILE, lines)
        notice(f"written to {ENV_FILE}")


async def _trials(
    settings: GatewaySettings, tasks: list[Task], max_tokens: int, parallel: int, *, synthetic: bool
) -> list[Trial]:
    import dataclasses

    from vortex.cli.terminal import notice
    from vortex.gateway.study.trial import run_trials

    def on_done(count: int) -> None:
        if count % 20 == 0:
            notice(f"{count} of {len(tasks)} tasks")

    if not synthetic:
        return await run_trials(settings, tasks, max_tokens=max_tokens, parallel=parallel, on_done=on_done)
    from vortex.backends.fake_engine import FakeEngine
    from vortex.backends.synthetic import Known, synthetic_script

    known = {task.prompt: Known(task.answer, task.difficulty) for task in tasks}
    engine = FakeEngine(synthetic_script(known, settings.action.instruction))
    addresses = dataclasses.replace(settings.addresses, engine_urls=(await engine.start(),), engine_model="")
    try:
        there = dataclasses.replace(settings, addresses=addresses)
        return await run_trials(there, tasks, max_tokens=max_tokens, parallel=parallel, on_done=on_done)
    finally:
        await engine.stop()


def _print_calibration(result: Calibration) -> None:
    from rich.table import Table

    from vortex.cli.terminal import output

    policies = Table("policy", "accuracy", "tokens per request", "share ANALITICO")
    for scored in result.policies:
        policies.add_row(scored.name, f"{scored.accuracy:.3f}", f"{scored.tokens:.1f}", f"{scored.share_analytic:.2f}")
    signals = Table("signal", "AUROC (ANALITICO turns wrong into right)")
    for name, area in result.auroc.items():
        signals.add_row(name, "undefined" if area is None else f"{area:.3f}")
    kinds = Table("kind of task", "tasks", "right, FLUIDO", "right, ANALITICO", "tokens, FLUIDO", "tokens, ANALITICO")
    for kind in result.kinds:
        plain, careful = kind.fluido, kind.analitico
        right = [f"{plain.accuracy:.3f}", f"{careful.accuracy:.3f}"]
        kinds.add_row(kind.name, str(kind.tasks), *right, f"{plain.tokens:.1f}", f"{careful.tokens:.1f}")
    for table in (kinds, policies, signals):
        output().print(table)
    verdict = "differ" if result.modes_differ else "cannot be told apart"
    output().print(
        f"{result.trials} tasks, half to fit and half to report; the modes {verdict}, p = {result.p_value:.3g}"
    )


def _figures(result: Calibration) -> dict[str, Any]:
    kinds = {
        kind.name: {"tasks": kind.tasks, "fluido": kind.fluido.accuracy, "analitico": kind.analitico.accuracy}
        for kind in result.kinds
    }
    return {
        "trials": result.trials,
        "kinds": kinds,
        "p_value": result.p_value,
        "modes_differ": result.modes_differ,
        "auroc": result.auroc,
        "policies": [
            {"name": s.name, "accuracy": s.accuracy, "tokens": s.tokens, "share_analytic": s.share_analytic}
            for s in result.policies
        ],
    }


def _summary(result: Replay) -> dict[str, Any]:
    return {
        "requests": len(result.requests),
        "different": result.different,
        "ticks": result.ticks,
        "different_ticks": result.different_ticks,
        "identical": result.identical,
    }


def _row(score: Any) -> dict[str, Any]:
    return {
        "policy": score.name,
        "share_analytic": score.share_analytic,
        "changed": score.changed,
        "tokens": score.tokens,
    }


def _said(result: Replay) -> str:
    counts = f"{len(result.requests)} decisions and {result.ticks} controller steps"
    if result.identical:
        return f"{counts}: all identical, byte for byte"
    first = result.different[:5]
    return f"{counts}: {len(result.different)} decisions (first: {first}) and {result.different_ticks} steps differ"
