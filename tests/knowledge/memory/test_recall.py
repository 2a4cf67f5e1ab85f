"""Found by meaning, above a threshold, about the same subject. The words' own embedder stands for a model's here."""

from __future__ import annotations

from pathlib import Path

import pytest

from vortex.knowledge.embedding import HashEmbedder
from vortex.knowledge.memory.conflicts import contradictions
from vortex.knowledge.memory.entries import Kind
from vortex.knowledge.memory.folder import Memory
from vortex.knowledge.memory.lessons import Lessons
from vortex.knowledge.memory.recall import CACHE_FILE, Recall


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "memory")


@pytest.fixture
def lessons(memory: Memory) -> Lessons:
    return Lessons(memory, HashEmbedder(), threshold=0.5)


def test_a_lesson_is_found_by_its_question(lessons: Lessons) -> None:
    lessons.teach("What is the capital of Zubrovia?", "The capital of Zubrovia is Lutz.", source="feedback")
    found = lessons.best("Tell me what the capital of Zubrovia is")
    assert found is not None
    assert found.entry.text == "The capital of Zubrovia is Lutz."
    assert found.similarity > 0.5


@pytest.mark.parametrize("question", ["What is the capital of Zubria?", "What is the capital of France?", "Hello"])
def test_another_subject_is_left_alone(lessons: Lessons, question: str) -> None:
    lessons.teach("What is the capital of Zubrovia?", "The capital of Zubrovia is Lutz.", source="feedback")
    assert lessons.best(question) is None


def test_the_threshold_holds(memory: Memory) -> None:
    memory.add("The lamp in the hall is green.", source="chat")
    assert Recall(memory, HashEmbedder(), threshold=0.1).nearest("Is the hall lamp green?")
    assert not Recall(memory, HashEmbedder(), threshold=0.95).nearest("Is the hall lamp red?")


def test_an_edited_and_a_forgotten_entry_are_seen(memory: Memory) -> None:
    recall = Recall(memory, HashEmbedder(), threshold=0.3)
    entry = memory.add("The lamp in the hall is green.", source="chat")
    assert recall.nearest("lamp in the hall")[0].entry.text.endswith("green.")
    memory.edit(entry.id, "The lamp in the hall is scarlet now.", source="command")
    assert recall.nearest("lamp in the hall")[0].entry.text.endswith("scarlet now.")
    memory.forget(entry.id, source="command")
    assert recall.nearest("lamp in the hall") == []


def test_a_broken_cache_is_made_anew(memory: Memory) -> None:
    memory.add("The lamp in the hall is green.", source="chat")
    assert Recall(memory, HashEmbedder(), threshold=0.3).nearest("lamp in the hall")
    (memory.folder / CACHE_FILE).write_bytes(b"broken")
    assert Recall(memory, HashEmbedder(), threshold=0.3).nearest("lamp in the hall")


def test_kinds_are_kept_apart(memory: Memory, lessons: Lessons) -> None:
    memory.add("The lamp in the hall is green.", source="chat")
    assert lessons.best("The lamp in the hall is green.") is None
    assert Recall(memory, HashEmbedder(), threshold=0.5).nearest("lamp in the hall is green", kind=Kind.FACT)


def test_a_contradiction_is_shown_and_nothing_dropped(memory: Memory) -> None:
    embedder = HashEmbedder()
    old = memory.add("The staging server in the cellar is called Plum.", source="chat")
    memory.add("The cat sleeps in the cellar.", source="chat")
    new = memory.add("The staging server in the cellar is called Peach.", source="chat")
    assert [found.entry.id for found in contradictions(new, memory, embedder)] == [old.id]
    assert len(memory.entries()) == 3
