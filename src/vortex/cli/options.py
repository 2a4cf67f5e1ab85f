"""Options that several commands share, written once so that they read and behave alike."""

from __future__ import annotations

from typing import Annotated

import typer

ProfileOption = Annotated[
    str | None, typer.Option("--profile", help="Settings profile. `vortex config profiles` lists them.")
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="Model: a known name, a Hugging Face repo, a GGUF file or a safetensors folder."),
]
BackendOption = Annotated[
    str | None,
    typer.Option("--backend", help="What runs the model: local, hf (transformers), or http for a running server."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change any setting for this run. Repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")]
PermitOption = Annotated[
    list[str] | None,
    typer.Option(
        "--permit", metavar="NAME=PERMISSION", help="allow, ask or block a tool or an effect: web_open=ask. Repeatable."
    ),
]


def _megabytes(text: str) -> int:
    from vortex.c3.format.sizes import parse_bytes
    from vortex.errors import ConfigError

    if text.strip().isdigit():
        raise ConfigError(f"'{text}' has no unit; write {text}MB or {text}GB")
    return -(-parse_bytes(text) // 10**6)


AdapterOption = Annotated[
    str | None,
    typer.Option(
        "--adapter", metavar="NAME|PATH", help="LoRA adapter: a name that `vortex adapters list` shows, or a folder."
    ),
]

BudgetOption = Annotated[
    int | None,
    typer.Option(
        "--budget",
        metavar="SIZE",
        parser=_megabytes,
        help="Memory for weights, like 2.2GB; the rest is paged from disk. Same answers, slower.",
    ),
]

BadOption = Annotated[
    bool | None,
    typer.Option("--bad/--no-bad", help="Guess tokens ahead, several to a sweep. Same answers, sooner."),
]
