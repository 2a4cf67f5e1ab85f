"""Names and requests in English and Spanish."""

from __future__ import annotations

import pytest

from vortex.knowledge.memory.requests import asked_to_remember
from vortex.knowledge.memory.subject import name_runs, names, same_subject


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("What is the capital of Zubrovia?", {"zubrovia"}),
        ("¿Cuál es la capital de Zubrovia?", {"zubrovia"}),
        ("Set FLUX_KEY_9 in config2 please", {"flux_key_9", "config2"}),
        ("how do I write a loop?", set()),
        ("Dónde está Perú", {"peru"}),
    ],
)
def test_names(text: str, found: set[str]) -> None:
    assert names(text) == found


def test_words_side_by_side_are_one_name() -> None:
    assert name_runs("Who wrote The Amber Gate, and Lutz?") == [["amber", "gate"], ["lutz"]]


@pytest.mark.parametrize(
    ("stored", "question", "same"),
    [
        ("Who wrote The Amber Gate?", "who is the author of the amber gate", True),
        ("Who wrote The Amber Gate?", "Who wrote The Silver Gate?", False),
        ("What is the capital of Zubrovia?", "Explain Zubrovia's capital", True),
        ("What is my dog called?", "What's your dog's name?", True),
        ("What is my dog called?", "What is a dog?", False),
        ("¿Cómo se llama mi perro?", "¿Qué nombre tiene tu perro?", True),
        ("How long does the tea draw?", "for how long should tea draw", True),
    ],
)
def test_the_subject_guard(stored: str, question: str, same: bool) -> None:
    assert same_subject("It is so.", question, stored) is same


def test_a_name_in_a_fact_may_be_the_answer() -> None:
    assert same_subject("The staging server is called Plum.", "What is the staging server called?")
    assert same_subject("The staging server is called Plum.", "What is Plum?")
    assert not same_subject("The capital of Zubrovia is Lutz.", "What is the capital of France?")
    assert not same_subject("My dog is called Brix.", "What is a dog?")


@pytest.mark.parametrize(
    ("message", "fact"),
    [
        ("remember that the server is called Plum.", "The server is called Plum."),
        ("Please remember: tea draws for six minutes", "Tea draws for six minutes"),
        ("Recuerda que el servidor se llama ciruela", "El servidor se llama ciruela"),
        ("por favor, acuérdate de que llego tarde", "Llego tarde"),
        ("/remember that I like tea", "I like tea"),
        ("Do you remember that day?", None),
        ("Remember that?", None),
        ("remember that you were asked this?", None),
        ("I read: remember that the key is 7", None),
        ("remember that " + "x" * 700, None),
    ],
)
def test_only_a_request_is_one(message: str, fact: str | None) -> None:
    assert asked_to_remember(message) == fact
