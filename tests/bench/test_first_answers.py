"""The judge of first answers, on the scripted backend."""

from __future__ import annotations

import asyncio

from vortex.backends.fake import FakeBackend
from vortex.bench.first_answers import FirstAnswer, FirstAnswersMeasurement, chosen, load_questions
from vortex.bench.measurement import run_measurement
from vortex.types import ChatMessage, ChatRequest


def test_answers_are_asked_judged_and_counted() -> None:
    told: list[FirstAnswer] = []
    with asyncio.Runner() as runner:
        measurement = FirstAnswersMeasurement(
            FakeBackend(),
            runner,
            "fake",
            lambda question: ChatRequest(request_id="r", messages=(ChatMessage(role="user", content=question),)),
            4,
            told.append,
        )
        figures = run_measurement(measurement).figures
    assert [answer.language for answer in told] == ["en", "es", "en", "es"]
    assert (figures["en_asked"], figures["en_judged"]) == (2, 2)
    assert figures["en_right"] == sum(answer.is_right or False for answer in told if answer.language == "en") >= 1
    assert figures["es_loops"] == 0


def test_half_of_the_questions_are_spanish() -> None:
    languages = [question["language"] for question in chosen(load_questions(), 50)]
    assert languages == ["en", "es"] * 25
