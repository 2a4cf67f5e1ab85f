"""`vortex eval`: see learn/evaluation.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vortex.cli.bench.presenting import JsonOutOption
from vortex.cli.options import BudgetOption, ModelOption, ProfileOption, SetOption


def register(app: typer.Typer) -> None:
    app.command("eval", rich_help_panel="Look around")(evaluate)


def evaluate(
    *,
    profile: ProfileOption = None,
    model: ModelOption = None,
    budget: BudgetOption = None,
    text: Annotated[
        Path | None, typer.Option("--text", exists=True, dir_okay=False, help="Text to predict; else a book's chapter.")
    ] = None,
    tokens: Annotated[int, typer.Option("--tokens", min=16, help="Tokens of text to predict.")] = 2048,
    window: Annotated[int, typer.Option("--window", min=16, help="Tokens of one piece of text.")] = 256,
    recall: Annotated[
        list[int] | None, typer.Option("--recall", min=32, help="A length to recall a key over. Repeatable.")
    ] = None,
    json_out: JsonOutOption = None,
    set_: SetOption = None,
) -> None:
    """What the model can do: perplexity, bits per byte, cloze, recall of a key, and its speed."""
    import json

    from rich.table import Table

    from vortex.cli.composition import open_model, settings_for
    from vortex.cli.terminal import output, working
    from vortex.learn.evaluation import Evaluation, EvaluationOptions
    from vortex.records.atomic import atomic_write

    opened = open_model(settings_for(profile, set_, {"model.name": model, "runtime.cache_vram_budget_mb": budget}))
    options = EvaluationOptions(tokens=tokens, window=window, recall_tokens=recall or (128, 512))
    given = text.read_text(encoding="utf-8", errors="replace") if text else None
    evaluation = Evaluation(opened.model, opened.tokenizer, options, text=given)
    figures: dict[str, object] = {"model": opened.name, "text": text.name if text else "origin_of_species_8.txt"}
    for name, part in evaluation.parts().items():
        with working(f"{opened.name}: {name}"):
            figures |= part()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(opened.name)
    table.add_column("", justify="right")
    for name, value in figures.items():
        if name not in {"model", "text"}:
            table.add_row(name.replace("_", " "), str(value))
    output().print(table)
    line = json.dumps({"evaluation": 1, **figures})
    if json_out:
        with atomic_write(json_out) as file:
            file.write((line + "\n").encode())
    typer.echo(line)
