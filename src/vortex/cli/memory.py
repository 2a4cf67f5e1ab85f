"""`vortex memory`: what Vortex was asked to remember: add, list, search, edit, keep, forget, with its history.

Nothing is remembered but what is added here, with /remember in a chat, by "remember that …", or by a tool call that a
person allowed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vortex.cli.options import JsonOption, ProfileOption, SetOption

if TYPE_CHECKING:
    from vortex.knowledge.memory.entries import Entry
    from vortex.knowledge.memory.recall import Recalled


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="What Vortex was asked to remember.", no_args_is_help=True)
    group.command("add")(add)
    group.command("list")(list_entries)
    group.command("search")(search)
    group.command("edit")(edit)
    group.command("keep")(keep)
    group.command("forget")(forget)
    group.command("history")(history)
    app.add_typer(group, name="memory", rich_help_panel="Knowledge")


def add(
    text: Annotated[str, typer.Argument(help="The fact, as a sentence.")],
    *,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Remember a fact. One that seems to contradict another is shown beside it; nothing is dropped.

    Example:

      vortex memory add "The staging server is called Plum."
    """
    from vortex.cli.composition import settings_for
    from vortex.cli.knowing import open_embedder, open_memory
    from vortex.cli.terminal import print_json, warn
    from vortex.knowledge.memory.conflicts import contradictions

    settings = settings_for(profile, set_).settings
    memory = open_memory()
    entry = memory.add(text, source="command")
    embedder = open_embedder(settings, fetch=False)
    found = contradictions(entry, memory, embedder) if embedder else []
    if as_json:
        print_json({**as_fact(entry), "may_contradict": [as_fact(other.entry) for other in found]})
        return
    typer.echo(f"remembered as {entry.id}: {entry.text}")
    for other in found:
        warn(f"this may contradict {other.entry.id}: {other.entry.text} (`vortex memory forget {other.entry.id}`)")


def list_entries(as_json: JsonOption = False) -> None:
    """Everything that is remembered, oldest first. The files are in data/memory/entries and may be edited."""
    from vortex.cli.knowing import open_memory
    from vortex.cli.terminal import print_json, write_answer

    entries = open_memory().entries()
    if as_json:
        print_json({"entries": [as_fact(entry) for entry in entries]})
        return
    for entry in entries:
        asked = f" ({entry.question})" if entry.question else ""
        write_answer(f"{entry.id}  {entry.kind.value}  {entry.source}  {entry.text}{asked}\n")
    if not entries:
        typer.echo('Nothing is remembered. Add something: vortex memory add "The staging server is called Plum."')


def search(
    text: Annotated[str, typer.Argument(help="A question, or words.")],
    *,
    top_k: Annotated[int, typer.Option("--top-k", min=1, max=1000, help="Most entries.")] = 5,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """What is remembered about a question; nothing where nothing is near enough."""
    from vortex.cli.composition import settings_for
    from vortex.cli.knowing import open_embedder, open_memory
    from vortex.cli.terminal import notice, print_json, write_answer
    from vortex.errors import MissingCapability
    from vortex.knowledge.memory.recall import Recall

    settings = settings_for(profile, set_).settings
    embedder = open_embedder(settings, fetch=True)
    if embedder is None:
        raise MissingCapability("memory is searched by meaning; get the model: vortex pull all-minilm-l6-v2")
    found = Recall(open_memory(), embedder).nearest(text, limit=top_k)
    if as_json:
        print_json({"query": text, "results": [_as_result(one) for one in found]})
        return
    for one in found:
        write_answer(f"{one.entry.id}  {one.similarity:.2f}  {one.entry.text}\n")
    if not found:
        notice("nothing that is remembered is near enough to this")


def edit(
    entry_id: Annotated[str, typer.Argument(metavar="ID", help="As `vortex memory list` shows it.")],
    text: Annotated[str, typer.Argument(help="The text that it shall have.")],
    as_json: JsonOption = False,
) -> None:
    """Change what is remembered; the history keeps the text before."""
    from vortex.cli.knowing import open_memory
    from vortex.cli.terminal import print_json

    entry = open_memory().edit(entry_id, text, source="command")
    if as_json:
        print_json(as_fact(entry))
    else:
        typer.echo(f"{entry.id} is now: {entry.text}")


def keep(
    entry_id: Annotated[str, typer.Argument(metavar="ID", help="As `vortex memory list` shows it.")],
    as_json: JsonOption = False,
) -> None:
    """Say that you have read an entry and want it kept; the console asks about it no more."""
    from vortex.cli.knowing import open_memory
    from vortex.cli.terminal import print_json

    entry = open_memory().keep(entry_id, source="command")
    if as_json:
        print_json({"id": entry.id, "kept": True})
    else:
        typer.echo(f"kept: {entry.text}")


def forget(
    entry_id: Annotated[str, typer.Argument(metavar="ID", help="As `vortex memory list` shows it.")],
    *,
    erase: Annotated[bool, typer.Option("--erase", help="Take its text out of the history too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Forget one entry. The history keeps its text, except with --erase."""
    from vortex.cli.knowing import open_memory
    from vortex.cli.terminal import print_json

    entry = open_memory().forget(entry_id, source="command", erase=erase)
    if as_json:
        print_json({"id": entry.id, "erased": erase})
    else:
        typer.echo(f"forgotten: {entry.text}")


def history(
    entry_id: Annotated[str | None, typer.Argument(metavar="ID", help="Of one entry; without it, of all.")] = None,
    as_json: JsonOption = False,
) -> None:
    """What was added, edited and forgotten, when, and by whom."""
    from datetime import datetime

    from vortex.cli.knowing import open_memory
    from vortex.cli.terminal import print_json, write_answer

    rows = open_memory().history(entry_id)
    if as_json:
        print_json({"changes": rows})
        return
    for row in rows:
        when = datetime.fromtimestamp(float(row["time"])).isoformat(sep=" ", timespec="seconds")
        before = f" (before: {row['before']})" if row.get("before") else ""
        write_answer(f"{when}  {row['id']}  {row['change']}  {row['source']}  {row['text']}{before}\n")


def as_fact(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "kind": entry.kind.value,
        "text": entry.text,
        "question": entry.question,
        "source": entry.source,
        "created": entry.created,
        "request_id": entry.request_id,
    }


def _as_result(found: Recalled) -> dict[str, Any]:
    return {**as_fact(found.entry), "score": round(found.similarity, 4)}
