"""Passages: of the promised size, in order, losing nothing, under their headings."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from vortex.knowledge.chunking import MAX_TOKENS, MIN_TOKENS, passages
from vortex.knowledge.documents.blocks import Block

SENTENCE = "The kettle in the kitchen of the old house is called Bruno and it sings. "


def test_long_prose_is_cut_at_sentences() -> None:
    found = passages([Block(SENTENCE * 100, ("Tea",))])
    assert all(MIN_TOKENS <= passage.tokens <= MAX_TOKENS for passage in found[:-1])
    assert all(passage.text.endswith("sings.") for passage in found)
    assert {passage.heading for passage in found} == {("Tea",)}


def test_small_sections_under_one_heading_are_joined_and_named() -> None:
    blocks = [Block("It draws long.", ("Tea", "Green"), 3), Block("It draws short.", ("Tea", "Black"), 7)]
    (found,) = passages(blocks)
    assert found.heading == ("Tea",)
    assert found.text == "Green\nIt draws long.\n\nBlack\nIt draws short."
    assert (found.line, found.last_line) == (3, 8)


def test_chapters_stay_apart() -> None:
    found = passages([Block("It draws.", ("Tea",)), Block("It hangs.", ("Lamp",), 5)])
    assert [passage.heading for passage in found] == [("Tea",), ("Lamp",)]


def test_code_is_cut_at_lines_that_keep_their_numbers() -> None:
    text = "\n".join(f"value_{number} = compute(number={number})" for number in range(100))
    found = passages([Block(text, ("module",), 11, by_lines=True)])
    assert len(found) > 1
    assert found[0].line == 11
    for before, after in zip(found, found[1:], strict=False):
        assert after.text.split(" ")[0] == f"value_{after.line - 11}"
        assert after.line == before.last_line + 1


def test_one_endless_line_is_cut_all_the_same() -> None:
    found = passages([Block("x1" * 20_000, (), by_lines=True)])
    assert max(passage.tokens for passage in found) <= MAX_TOKENS
    assert sum(len(passage.text) for passage in found) == 40_000


WORDS = st.text(alphabet="abz é.\n", max_size=3000)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(WORDS, st.lists(st.sampled_from(["1", "2"]), max_size=2), st.booleans()), max_size=8))
def test_nothing_is_lost_and_nothing_too_long(parts: list[tuple[str, list[str], bool]]) -> None:
    blocks = [Block(text, tuple(heading), 1, by_lines) for text, heading, by_lines in parts if text.strip()]
    found = passages(blocks)
    signs = "abzé."
    written = "".join(passage.text for passage in found)
    given_text = "".join(block.text for block in blocks)
    assert {sign: written.count(sign) for sign in signs} == {sign: given_text.count(sign) for sign in signs}
    assert all(passage.tokens <= MAX_TOKENS for passage in found)
