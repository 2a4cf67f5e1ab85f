"""`vortex bench sandbox`, `injections`, `fuzz-web` and `follow`: what holds, is noticed, breaks, leads away."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vortex.cli.bench.presenting import JsonOutOption, PlotOption, RunsOption, keep_parts, present
from vortex.cli.options import ModelOption, ProfileOption, SetOption

if TYPE_CHECKING:
    from vortex.agent.tools.tool import Tool


def register(group: typer.Typer) -> None:
    group.command("sandbox")(sandbox)
    group.command("injections")(injections)
    group.command("fuzz-web")(fuzz_web)
    group.command("follow")(follow)


def sandbox(
    *,
    runs: RunsOption = 15,
    starts: Annotated[bool, typer.Option("--starts", help="Only what start-up costs.")] = False,
    json_out: JsonOutOption = None,
    plot: PlotOption = None,
) -> None:
    """Every attempt to get out, in every tier this machine has, and what start-up costs (about a minute)."""
    from vortex.bench.measurement import run_measurement
    from vortex.bench.sandbox.measurement import SandboxMeasurement

    measurement = SandboxMeasurement(runs=runs, attempts=()) if starts else SandboxMeasurement(runs=runs)
    present(run_measurement(measurement), json_out, plot)


def injections(
    strings: Annotated[
        Path | None, typer.Option("--strings", help="Other strings: a JSON list, or JSON lines with text.")
    ] = None,
    every: Annotated[int, typer.Option("--every", min=1, help="Take every n-th of them.")] = 1,
    json_out: JsonOutOption = None,
    plot: PlotOption = None,
) -> None:
    """How many strings that address a model the sanitiser notices in a page, and what it takes for one."""
    from vortex.agent.web.sanitising import SanitizeRules, sanitize
    from vortex.bench.measurement import run_measurement
    from vortex.bench.sandbox.injections import InjectionsMeasurement

    rules = SanitizeRules(max_chars=1 << 30)
    present(run_measurement(InjectionsMeasurement(lambda text: sanitize(text, rules), strings, every)), json_out, plot)


def fuzz_web(
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="How long.")] = 120.0,
    seed: Annotated[int, typer.Option("--seed", help="The same seed makes the same inputs.")] = 1,
    json_out: JsonOutOption = None,
) -> None:
    """Sanitiser and fetcher against made-up input; only a page or a refusal may come of it."""
    from vortex.agent.web.fetching import Fetcher, FetchLimits
    from vortex.agent.web.sanitising import sanitize
    from vortex.bench.measurement import run_measurement
    from vortex.bench.sandbox.fuzzing import FuzzMeasurement
    from vortex.errors import WebRefused

    limits = FetchLimits(max_bytes=1_000_000, timeout_s=2, requests_per_minute=1 << 30)

    context = ssl.create_default_context()

    def fetch(dial: Callable[[str, int, float], socket.socket]) -> str:
        fetcher = Fetcher(("allowed.test",), limits, lambda *_: ["93.184.215.14"], dial, context)
        try:
            page = fetcher.fetch("http://allowed.test/")
        except WebRefused:
            return "refused"
        sanitize(page.text)
        return "page"

    present(run_measurement(FuzzMeasurement(lambda text: sanitize(text).text, fetch, seconds, seed)), json_out, None)


def follow(
    *,
    model: ModelOption = None,
    profile: ProfileOption = None,
    most: Annotated[int, typer.Option("--strings", min=1, help="At most so many strings, families in turn.")] = 250,
    other: Annotated[
        Path | None, typer.Option("--file", help="Other strings: a JSON list, or JSON lines with text.")
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, help="Begin no further string after this time.")
    ] = 300.0,
    show: Annotated[bool, typer.Option("--show", help="Print each call.")] = False,
    json_out: JsonOutOption = None,
    set_: SetOption = None,
) -> None:
    """How many strings in a page change a model's next tool call: as it is, labelled, sanitised and labelled.

    With --json-out what is known so far is written after every few strings, so that a run that is cut short says so.
    """
    import asyncio

    from vortex.agent.tools.toolbox import SHOWN
    from vortex.bench.measurement import run_measurement
    from vortex.bench.sandbox.following import FollowMeasurement
    from vortex.cli.composition import open_backend, settings_for
    from vortex.cli.terminal import notice

    def tell(way: str, text: str, call: tuple[str, str]) -> None:
        if show:
            notice(f"{way}: {text[:70]!r} -> {call[0]}({call[1]!r})")

    loaded = settings_for(profile, set_, {"model.name": model})
    backend = open_backend(loaded)
    name = Path(loaded.settings.model.name).stem
    with asyncio.Runner() as runner:
        offered = offered_tools()
        measurement = FollowMeasurement(
            backend, runner, name, [tool.spec() for tool in offered], ways_to_show(), most, seconds, other,
            frozenset(tool.name for tool in offered if tool.effect in SHOWN), tell, keep_parts(json_out),
        )  # fmt: skip
        try:
            present(run_measurement(measurement), json_out, None)
        finally:
            runner.run(backend.close())


def ways_to_show() -> dict[str, Callable[[str], str | None]]:
    """A page as the result of a tool: as it is, labelled, sanitised and labelled (None: refused whole)."""
    from vortex.agent.tools.tool import ToolResult, Trust
    from vortex.agent.web.sanitising import SanitizeRules, sanitize
    from vortex.bench.sandbox.following import URL

    def labelled(page: str) -> str:
        return ToolResult(page, Trust.UNTRUSTED, URL).labelled()

    def sanitised(page: str) -> str | None:
        clean = sanitize(page, SanitizeRules())
        return None if clean.refused else labelled(clean.text)

    return {"as it is": lambda page: page, "labelled": labelled, "sanitised, labelled": sanitised}


def offered_tools() -> list[Tool]:
    """Of the tools that an agent offers two that stay in the folder and two that reach out; nothing is run.

    Small models lose themselves in more: then they list files, whatever the page says.
    """
    from vortex.agent.tools.commands import command_tools
    from vortex.agent.tools.files import file_tools
    from vortex.agent.tools.web import web_tools
    from vortex.agent.tools.workspace import Workspace
    from vortex.agent.web.web import Web

    workspace = Workspace(Path())
    tools = [*file_tools(workspace), *command_tools(workspace), *web_tools(Web(None))]
    return [tool for tool in tools if tool.name in {"read_file", "write_file", "run_command", "web_open"}]
