"""`vortex knowledge`: documents to look things up in: add, sync, list, remove, search, offer over MCP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vortex.cli.options import JsonOption, ModelOption, ProfileOption, SetOption

if TYPE_CHECKING:
    from vortex.config.loading import LoadedSettings
    from vortex.config.schema import Settings
    from vortex.knowledge.ingest.ingest import Changes
    from vortex.knowledge.search.search import Hit, Reranker
    from vortex.knowledge.store.store import KnowledgeStore

SHOWN_LEFT_OUT = 10


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Documents to look things up in.", no_args_is_help=True)
    group.command("add")(add)
    group.command("sync")(sync)
    group.command("list")(list_sources)
    group.command("remove")(remove)
    group.command("search")(search)
    group.command("mcp")(mcp)
    app.add_typer(group, name="knowledge", rich_help_panel="Knowledge")


def add(
    path: Annotated[Path, typer.Argument(help="A folder, or one file.")],
    *,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Add a folder or file: text, Markdown, HTML, PDF, code, tables. What is there already is left as it is.

    Examples:

      vortex knowledge add docs

      vortex knowledge add handbook.pdf
    """
    _ingest(path, profile, set_, as_json=as_json)


def sync(
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until Ctrl-C, whenever a file changes.")] = False,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Bring the store up to date with its folders and files: new, changed and deleted ones."""
    _ingest(None, profile, set_, as_json=as_json)
    if watch:
        _watch(profile, set_, as_json=as_json)


def list_sources(as_json: JsonOption = False) -> None:
    """What is in the store, and which files gave no text, with the reason."""
    from rich.table import Table
    from rich.text import Text

    from vortex.cli.knowing import open_store
    from vortex.cli.terminal import notice, output, print_json

    with open_store() as store:
        sources, left_out, embedder = store.sources(), store.left_out(), store.meta("embedder")
    if as_json:
        print_json(
            {
                "sources": [
                    {
                        "source": source.root,
                        "documents": source.documents,
                        "passages": source.passages,
                        "not_embedded": source.not_embedded,
                        "left_out": source.left_out,
                        "here": Path(source.root).exists(),
                    }
                    for source in sources
                ],
                "left_out": [{"path": path, "reason": reason} for path, reason in left_out],
                "embedder": embedder,
            }
        )
        return
    if not sources:
        typer.echo("Nothing is in the store yet. Add a folder: vortex knowledge add docs")
        return
    table = Table("source", "documents", "passages", "left out", box=None, pad_edge=False, header_style="bold")
    for source in sources:
        gone = "" if Path(source.root).exists() else "  (not there now)"
        table.add_row(Text(source.root + gone), f"{source.documents:,}", f"{source.passages:,}", f"{source.left_out:,}")
    output().print(table)
    for path, reason in left_out[:SHOWN_LEFT_OUT]:
        notice(f"left out: {path}: {reason}")
    if len(left_out) > SHOWN_LEFT_OUT:
        notice(f"… and {len(left_out) - SHOWN_LEFT_OUT} more; --json lists them all")


def remove(
    path: Annotated[Path, typer.Argument(help="A source that `vortex knowledge list` shows, or files in one.")],
    as_json: JsonOption = False,
) -> None:
    """Forget a source, with every word of it. The files themselves are left alone."""
    from vortex.cli.knowing import open_store
    from vortex.cli.terminal import notice, print_json
    from vortex.knowledge.ingest.ingest import Ingest, IngestOptions

    with open_store() as store:
        removed = Ingest(store, IngestOptions(), notice_waiting(notice)).remove(path)
    if as_json:
        print_json({"source": str(path), "documents": removed})
    else:
        typer.echo(f"removed {path}: {removed:,} documents")


def search(
    text: Annotated[str, typer.Argument(help="A question, or words.")],
    *,
    top_k: Annotated[int | None, typer.Option("--top-k", min=1, max=1000, help="Most passages.")] = None,
    source: Annotated[list[str] | None, typer.Option(help="Only from this folder or file. Repeatable.")] = None,
    since: Annotated[str | None, typer.Option(metavar="DATE", help="Only files changed since YYYY-MM-DD.")] = None,
    until: Annotated[str | None, typer.Option(metavar="DATE", help="Only files changed before YYYY-MM-DD.")] = None,
    mode: Annotated[str, typer.Option(help="fused, words or vectors.")] = "fused",
    rerank: Annotated[
        int, typer.Option(min=0, max=100, help="So many of the best are put in order by the model; slow.")
    ] = 0,
    model: ModelOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Passages that answer a question, best first; none where nothing is near enough.

    Examples:

      vortex knowledge search "how long does the tea draw?"

      vortex knowledge search "¿cómo se instala?" --source docs --top-k 3 --json
    """
    from dataclasses import replace

    from vortex.cli.composition import settings_for
    from vortex.cli.knowing import as_result, open_embedder, open_store, search_options
    from vortex.cli.terminal import notice, print_json
    from vortex.errors import RequestError
    from vortex.knowledge.search.search import KnowledgeSearch
    from vortex.knowledge.store.reading import Filter

    if mode not in {"fused", "words", "vectors"}:
        raise RequestError(f"--mode is fused, words or vectors, not '{mode}'")
    loaded = settings_for(profile, set_, {"model.name": model})
    wanted = Filter(sources=tuple(source) if source else None, since=_seconds(since), until=_seconds(until))
    options = replace(search_options(loaded.settings), filter=wanted, mode=mode, rerank=rerank)
    options = replace(options, top_k=top_k or options.top_k)
    with open_store() as store, _reranker(loaded if rerank else None) as reranker:
        embedder = open_embedder(loaded.settings, fetch=False) if store.meta("embedder") else None
        hits = KnowledgeSearch(store, embedder, reranker).search(text, options)
    if as_json:
        print_json({"query": text, "results": [as_result(hit) for hit in hits]})
        return
    for number, hit in enumerate(hits, 1):
        _show(number, hit)
    if not hits:
        notice("nothing in the store is near enough to this; `vortex knowledge list` shows what it holds")


def mcp(*, profile: ProfileOption = None, set_: SetOption = None) -> None:
    """Offer search and memory to an MCP client over stdio (extra `agent`)."""
    from vortex.cli.composition import settings_for
    from vortex.cli.knowledge_mcp import serve_stdio

    serve_stdio(settings_for(profile, set_).settings)


@contextmanager
def _reranker(loaded: LoadedSettings | None) -> Iterator[Reranker | None]:
    """The model that puts the best in order, while the block lasts; none where no settings are given."""
    if loaded is None:
        yield None
        return
    from vortex.cli.composition import open_model
    from vortex.knowledge.search.rerank import LikelihoodReranker

    opened = open_model(loaded)
    try:
        yield LikelihoodReranker(opened.model, opened.tokenizer)
    finally:
        opened.model.close()


def notice_waiting(notice: Any) -> Any:
    """Only lines about waiting; what is read is not told."""
    return lambda text: notice(text) if "waiting" in text else None


def _ingest(path: Path | None, profile: str | None, set_: list[str] | None, *, as_json: bool) -> None:
    from vortex.cli.composition import settings_for
    from vortex.cli.knowing import ingest_options, open_store
    from vortex.cli.terminal import print_json, working
    from vortex.knowledge.ingest.ingest import Ingest

    settings = settings_for(profile, set_).settings
    with open_store() as store:
        with working("reading", lines_every_s=10) as say:
            ingest = Ingest(store, ingest_options(settings), say)
            changes = ingest.sync() if path is None else ingest.add(path)
        embedded = _embed(store, settings)
    if as_json:
        print_json(
            {
                "added": changes.added,
                "changed": changes.changed,
                "removed": changes.removed,
                "unchanged": changes.unchanged,
                "passages": changes.passages,
                "embedded": embedded,
                "links_not_followed": changes.links,
                "left_out": [{"path": file, "reason": reason} for file, reason in changes.left_out],
                "not_there": changes.missing,
            }
        )
    else:
        _say(changes)


def _embed(store: KnowledgeStore, settings: Settings) -> int:
    from vortex.cli.knowing import open_embedder
    from vortex.cli.terminal import notice, working
    from vortex.knowledge.ingest.ingest import embed_pending

    known = store.meta("embedder")
    if not store.count_pending() and known == settings.rag.embedder and not settings.rag.embedder_url:
        return 0
    embedder = open_embedder(settings, fetch=True)
    if embedder is None:
        return 0
    if known is not None and known != embedder.name:
        notice(f"the embedder is {embedder.name} now, not {known}: every passage is embedded again")
    with working("embedding", lines_every_s=10) as say:
        return embed_pending(store, embedder, say)[0]


def _say(changes: Changes) -> None:
    from vortex.cli.terminal import notice, warn

    typer.echo(
        f"{changes.added:,} added, {changes.changed:,} changed, {changes.removed:,} removed, "
        f"{changes.unchanged:,} unchanged; {changes.passages:,} new passages"
    )
    for folder in changes.missing:
        warn(f"{folder} is not there; what is known of it is kept (`vortex knowledge remove {folder}` forgets it)")
    for file, reason in changes.left_out[:SHOWN_LEFT_OUT]:
        notice(f"left out: {file}: {reason}")
    if len(changes.left_out) > SHOWN_LEFT_OUT:
        notice(f"… and {len(changes.left_out) - SHOWN_LEFT_OUT} more; `vortex knowledge list --json` has them all")
    if changes.links:
        notice(f"{changes.links:,} links were not followed: they may lead out of the folder")


def _watch(profile: str | None, set_: list[str] | None, *, as_json: bool) -> None:
    from watchfiles import watch

    from vortex.cli.knowing import open_store
    from vortex.cli.terminal import notice

    with open_store() as store:
        roots = [source.root for source in store.sources() if Path(source.root).exists()]
    if not roots:
        return
    notice(f"watching {len(roots)} sources; Ctrl-C ends it")
    for _ in watch(*roots, raise_interrupt=False):
        _ingest(None, profile, set_, as_json=as_json)


def _seconds(date: str | None) -> float | None:
    from datetime import datetime

    from vortex.errors import RequestError

    if date is None:
        return None
    try:
        return datetime.fromisoformat(date).timestamp()
    except ValueError as error:
        raise RequestError(f"'{date}' is no date; write it as 2026-11-28") from error


def _show(number: int, hit: Hit) -> None:
    from vortex.cli.terminal import write_answer

    passage = hit.passage
    heading = f" · {passage.heading}" if passage.heading else ""
    write_answer(f"[{number}] {passage.path}, {passage.place}{heading}\n{passage.text}\n\n")
