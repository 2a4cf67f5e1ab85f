"""`text_completion`, whole and in chunks. Choices of several prompts are numbered one after the other."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from vortex.server.answer import Gathered, LiveAnswer
from vortex.server.render import common
from vortex.server.sse import DONE, frame
from vortex.types import ChoiceFinished, Completed, TextDelta, Usage


def total(usages: list[Usage]) -> Usage:
    return Usage(
        prompt_tokens=sum(u.prompt_tokens for u in usages),
        completion_tokens=sum(u.completion_tokens for u in usages),
        cached_tokens=sum(u.cached_tokens for u in usages),
    )


def head(request_id: str, fingerprint: str, answer: Gathered) -> dict[str, Any]:
    return {
        "id": request_id,
        "object": "text_completion",
        "created": int(time.time()),
        "model": answer.started.model,
        "system_fingerprint": fingerprint,
        "seed": answer.started.seed,
    }


def whole(request_id: str, fingerprint: str, answers: list[Gathered], *, logprobs: bool) -> dict[str, Any]:
    choices = [choice for answer in answers for choice in answer.choices]
    usage = total([answer.usage for answer in answers if answer.usage])
    return {
        **head(request_id, fingerprint, answers[0]),
        "choices": [
            {
                "index": index,
                "text": choice.text,
                "logprobs": common.completion_logprobs(choice.logprobs, 0) if logprobs else None,
                "finish_reason": common.finish_reason(choice.reason),
            }
            for index, choice in enumerate(choices)
        ],
        "usage": common.usage(usage),
        "timings": common.timings(answers[0].timings, usage) if len(answers) == 1 else {},
        **common.notes(answers[0].started),
    }


async def frames(
    request_id: str, fingerprint: str, answers: list[LiveAnswer], *, with_usage: bool
) -> AsyncGenerator[bytes, None]:
    """Several prompts stream one after the other, in order."""
    usages: list[Usage] = []
    notes = common.notes(answers[0].started)  # in the first chunk alone
    shared = head(request_id, fingerprint, answers[0].gathered)
    first_choice = 0
    for answer in answers:
        offsets_chars = [0] * len(answer.gathered.choices)
        async with aclosing(answer.events()) as events:
            async for event in events:
                if isinstance(event, Completed):
                    usages.append(event.usage)
                if isinstance(event, TextDelta | ChoiceFinished):
                    choice = _choice(event, first_choice, offsets_chars)
                    yield frame({**shared, "choices": [choice], **notes} | ({"usage": None} if with_usage else {}))
                    notes = {}
        first_choice += len(answer.gathered.choices)
    if with_usage:
        yield frame({**shared, "choices": [], "usage": common.usage(total(usages))})
    yield DONE


def _choice(event: TextDelta | ChoiceFinished, first_choice: int, offsets_chars: list[int]) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": first_choice + event.choice, "text": "", "logprobs": None, "finish_reason": None}
    if isinstance(event, ChoiceFinished):
        choice["finish_reason"] = common.finish_reason(event.reason)
        return choice
    if event.logprobs:
        choice["logprobs"] = common.completion_logprobs(event.logprobs, offsets_chars[event.choice])
    offsets_chars[event.choice] += len(event.text)
    choice["text"] = event.text
    return choice
