"""`vortex bench wires`: answers of every family split right, and what a token costs on each wire."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from vortex.cli.bench.presenting import JsonOutOption, present

if TYPE_CHECKING:
    from vortex.bench.wire.forms import Frames
    from vortex.server.answer import LiveAnswer


def wires(
    *,
    count: Annotated[int, typer.Option("--answers", min=1, help="Whole answers of each family, and as many cut.")] = 50,
    json_out: JsonOutOption = None,
) -> None:
    """Split made answers of every model family, and time a token through the reader and each wire. Needs no model."""
    from vortex.bench.measurement import run_measurement
    from vortex.bench.wire.forms import WiresMeasurement, transformers_oracle

    present(run_measurement(WiresMeasurement(_writers(), transformers_oracle(), count)), json_out, None)


def _writers() -> dict[str, Callable[[], Frames]]:
    """Each wire's way out, made anew for each answer."""
    from vortex.server.bodies.chat import ChatBody
    from vortex.server.bodies.messages import Message
    from vortex.server.bodies.responses import ResponsesBody
    from vortex.server.render.anthropic import MessageWriter
    from vortex.server.render.chat import ChatWriter
    from vortex.server.render.ollama import OllamaWriter
    from vortex.server.render.responses import ResponseWriter

    chat = ChatBody(messages=[Message(role="user", content="x")])
    return {
        "chat": lambda: ChatWriter(chat, "fp", _answer(), dict).frames,
        "messages": lambda: MessageWriter("msg", _answer().started, (), dict).frames,
        "responses": lambda: ResponseWriter(ResponsesBody(input="x"), _answer().started, dict).frames,
        "ollama": lambda: OllamaWriter("m", _answer().started, is_chat=True).frames,
    }


def _answer() -> LiveAnswer:
    from vortex.server.answer import Gathered, GatheredChoice, LiveAnswer
    from vortex.types import ChatEvent, Started

    async def none() -> AsyncGenerator[ChatEvent, None]:
        events: list[ChatEvent] = []
        for event in events:
            yield event

    answer = LiveAnswer(none(), 1, lambda gathered: None, 0.0)
    answer.gathered = Gathered(Started(request_id="r", model="m", seed=0), [GatheredChoice()])
    return answer
