"""`vortex chat`: one question, or a conversation.

The answer goes to stdout and nothing else does, so it can be piped; speed and notices go to stderr. Ctrl-C stops the
answer at the next token: one-shot then exits with 130, a conversation returns to its prompt.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vortex.cli.command_options import with_options
from vortex.cli.options import (
    AdapterOption,
    BackendOption,
    BadOption,
    BudgetOption,
    JsonOption,
    ModelOption,
    ProfileOption,
    SetOption,
)

if TYPE_CHECKING:
    from vortex.config.loading import LoadedSettings


def register(app: typer.Typer) -> None:
    app.command("chat", rich_help_panel="Talk")(with_options(chat))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    prompt: Annotated[
        str | None, typer.Argument(help="The question; text on stdin goes below it. Without one: a conversation.")
    ] = None
    profile: ProfileOption = None
    model: ModelOption = None
    backend: BackendOption = None
    budget: BudgetOption = None
    bad: BadOption = None
    adapter: AdapterOption = None
    stream: Annotated[bool, typer.Option("--stream/--no-stream", help="Show words as they come.")] = True
    max_new_tokens: Annotated[int | None, typer.Option("--max-new-tokens", "--max-new", help="Longest answer.")] = None
    temperature: Annotated[float | None, typer.Option(help="0: always the likeliest word; 1: as the model is.")] = None
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same answer.")] = None
    system: Annotated[str | None, typer.Option(help="Instruction put before the conversation.")] = None
    with_: Annotated[Path | None, typer.Option("--with", metavar="PATH", help="Documents to look things up in.")] = None
    as_json: JsonOption = False
    set_: SetOption = None


def chat(options: Chat) -> None:
    """Ask a question, or have a conversation.

    Examples:

      vortex chat "What is the capital of France?"

      vortex chat --temperature 0.7 --seed 1 "A haiku about rain"

      git diff | vortex chat "What does this change do?"        the input goes below the question

      vortex chat --with docs "How is it installed?"    answers with sources

      vortex chat --model big.gguf --budget 2.2GB       a model larger than the memory you give it
    """
    from vortex.errors import RequestError

    loaded = _settings(options)
    prompt, piped = options.prompt, piped_text()
    if piped is not None:
        prompt = f"{prompt}\n\n{piped}" if prompt and piped.strip() else prompt or piped
    if prompt is None:
        if options.as_json:
            raise RequestError("--json answers one question: give it as an argument or on stdin")
        from vortex.cli.conversation import converse

        converse(
            loaded,
            seed=options.seed,
            stream=options.stream,
            max_tokens=options.max_new_tokens,
            documents=options.with_,
        )
        return
    if not prompt.strip():
        raise RequestError('the question is empty; try: vortex chat "What is the capital of France?"')
    _ask_once(prompt.strip(), loaded, options)


def _settings(options: Chat) -> LoadedSettings:
    from vortex.cli.composition import settings_for

    flags = {
        "model.name": options.model,
        "model.backend": options.backend,
        "runtime.cache_vram_budget_mb": options.budget,
        "bad.enabled": options.bad,
        "adapters.name": options.adapter,
        "decode.max_new_tokens": options.max_new_tokens,
        "decode.temperature": options.temperature,
        "chat.system": options.system,
    }
    return settings_for(options.profile, options.set_, flags)


def _ask_once(prompt: str, loaded: LoadedSettings, options: Chat) -> None:
    import asyncio

    from vortex.cli.composition import open_backend, with_manners
    from vortex.cli.grounded_turn import open_knowing, show_citations
    from vortex.cli.recommending import tell_once
    from vortex.cli.terminal import notice, print_json, write_answer, write_thought
    from vortex.cli.turn import Turn, request_for, run_turn
    from vortex.types import ChatMessage

    knowing = open_knowing(loaded.settings, options.with_)
    grounded = knowing.ground([ChatMessage(role="user", content=prompt)])
    knowing.close()
    loaded, _ = with_manners(loaded)
    backend = open_backend(loaded, keep_prompts=True)
    live = options.stream and not options.as_json
    turn = Turn()

    async def ask() -> None:
        request = request_for(grounded.messages, loaded.settings, options.seed, options.max_new_tokens)
        try:
            shown = (write_answer, write_thought) if live else (lambda _: None, lambda _: None)
            await run_turn(backend, request, turn, *shown)
        finally:
            await backend.close()

    try:
        asyncio.run(ask())
    finally:  # also when stopped: the line of the answer is ended before anything else is written
        if options.as_json:
            citations = [citation.to_json() for citation in grounded.citations(turn.text)]
            print_json({**turn.as_json(), **({"citations": citations} if options.with_ else {})})
        elif turn.text:
            write_answer(("" if live else turn.text) + "\n")
    show_citations(grounded, turn.text)
    notice(turn.summary())
    if not options.as_json:
        tell_once(loaded)


def piped_text() -> str | None:
    """What a pipe or a file gives on stdin; None at a terminal. Raises RequestError for what is not UTF-8."""
    from vortex.cli.terminal import working
    from vortex.errors import RequestError

    if sys.stdin is None or sys.stdin.isatty():
        return None
    if not hasattr(sys.stdin, "buffer"):  # a stream of text that stands in for it
        return sys.stdin.read()
    with working("reading the text on stdin (its end, Ctrl-D or </dev/null goes on)"):
        content = sys.stdin.buffer.read()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(
            f"the text on stdin is not UTF-8 at byte {error.start}; convert it: iconv -t UTF-8 FILE | vortex chat …"
        ) from error
