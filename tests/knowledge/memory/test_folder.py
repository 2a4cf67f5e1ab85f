"""Entries are files: kept whole, changed by hand, with a history."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from vortex.errors import RequestError
from vortex.knowledge.memory.entries import Kind
from vortex.knowledge.memory.folder import Memory


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "memory")


def test_an_entry_is_a_file_a_person_can_read(memory: Memory) -> None:
    entry = memory.add("El servidor se llama ciruela.", source="chat", request_id="chat-1")
    text = (memory.folder / "entries" / f"{entry.id}.md").read_text()
    assert text.endswith("---\nEl servidor se llama ciruela.\n")
    assert "source: chat" in text
    assert memory.entries() == [memory.find(entry.id[:11])]
    assert memory.entries()[0].text == entry.text


def test_the_folder_is_its_owners_alone(memory: Memory) -> None:
    memory.add("A fact.", source="chat")
    assert memory.folder.stat().st_mode & 0o077 == 0


def test_the_same_fact_is_remembered_once(memory: Memory) -> None:
    first = memory.add("The server is Plum.", source="chat")
    assert memory.add("the server  is plum", source="tool").id == first.id
    assert len(memory.entries()) == 1
    assert [row["change"] for row in memory.history()] == ["added"]


def test_a_lesson_replaces_the_older_one_on_its_question(memory: Memory) -> None:
    first = memory.add("It is Lutz.", source="feedback", kind=Kind.LESSON, question="What is the capital?")
    second = memory.add("It is Morn.", source="feedback", kind=Kind.LESSON, question="what is the capital?")
    assert second.id == first.id
    assert [entry.text for entry in memory.entries(Kind.LESSON)] == ["It is Morn."]
    assert memory.history()[-1]["before"] == "It is Lutz."


def test_what_a_person_does_to_the_files_is_in_the_history(memory: Memory) -> None:
    edited = memory.add("The port is 80.", source="chat")
    removed = memory.add("The lamp is green.", source="chat")
    file = memory.folder / "entries" / f"{edited.id}.md"
    file.write_text(file.read_text().replace("port is 80", "port is 443"))
    (memory.folder / "entries" / f"{removed.id}.md").unlink()
    (memory.folder / "entries" / "by-hand.md").write_text("The door is red.\n")
    memory.add("The roof is flat.", source="chat")
    changes = [(row["change"], row["source"], row["text"]) for row in memory.history()]
    assert ("edited", "file", "The port is 443.") in changes
    assert ("forgotten", "file", "The lamp is green.") in changes
    assert ("added", "file", "The door is red.") in changes
    assert {entry.text for entry in memory.entries()} == {"The port is 443.", "The door is red.", "The roof is flat."}


def test_forgetting_keeps_the_history_and_erasing_does_not(memory: Memory) -> None:
    one, two = memory.add("Secret one.", source="chat"), memory.add("Secret two.", source="chat")
    memory.forget(one.id, source="command")
    memory.forget(two.id, source="command", erase=True)
    kept = (memory.folder / "history.jsonl").read_text()
    assert "Secret one." in kept
    assert "Secret two." not in kept
    assert memory.entries() == []
    assert [row["change"] for row in memory.history(two.id)] == ["added", "forgotten"]


@pytest.mark.parametrize("text", ["", "  \n", "\u200b\u202e", "x" * 2001])
def test_nothing_and_too_much_are_refused(memory: Memory, text: str) -> None:
    with pytest.raises(RequestError):
        memory.add(text, source="chat")
    assert memory.entries() == []


def test_hidden_characters_are_left_out(memory: Memory) -> None:
    assert memory.add("The lamp\u200b is \U000e0041green.", source="chat").text == "The lamp is green."


def test_an_unknown_id_is_named(memory: Memory) -> None:
    with pytest.raises(RequestError, match="nothing is remembered as 'nope'"):
        memory.forget("nope", source="command")


def test_links_and_broken_heads_do_no_harm(memory: Memory, tmp_path: Path) -> None:
    memory.add("The lamp is green.", source="chat")
    (tmp_path / "private.md").write_text("A private file.")
    (memory.folder / "entries" / "link.md").symlink_to(tmp_path / "private.md")
    (memory.folder / "entries" / "broken.md").write_text("---\n: [\n---\nThe sky is wide.\n")
    (memory.folder / "entries" / "bytes.md").write_bytes(b"\xff\xfe\x00")
    texts = {entry.text for entry in memory.entries()}
    assert {"The lamp is green.", "The sky is wide."} <= texts
    assert not any("private" in text for text in texts)


def _add_ten(folder: Path, name: str) -> None:
    for number in range(10):
        Memory(folder).add(f"{name} is number {number}.", source="chat")


def test_two_processes_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_add_ten, args=(tmp_path, name)) for name in ("Plum", "Peach")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(Memory(tmp_path).entries()) == 20
    assert len(Memory(tmp_path).history()) == 20
