"""Rivals and log-probabilities of a given text, against a twin that sweeps every text from its beginning, alone."""

from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest

from vortex.engine.backend import LocalBackend
from vortex.engine.given_text import GivenTexts, Reading, log_softmax, run
from vortex.errors import BackendError, ContextOverflow, RequestError
from vortex.models.hash_model import HashModel, HashModelOptions
from vortex.protocols import GivenTextReader
from vortex.tokenizer.byte_tokenizer import ByteChatFormat, ByteTokenizer
from vortex.types import ChatMessage, ChatRequest, GivenText, ModelCard, Rival, RivalSearch, Span, Want

TOKENIZER = ByteTokenizer()
GIVEN = GivenText(text="def f(x):\n    return x + 1\n", messages=(ChatMessage(role="user", content="fix"),))


def texts_of(model: HashModel, chunk: int = 7) -> GivenTexts:
    return GivenTexts(
        TOKENIZER, ByteChatFormat(), vocab_size=TOKENIZER.vocab_size, context_length=model.context_length, chunk=chunk
    )


def likely_newlines(looks_back: int = 3) -> HashModel:
    favour = np.zeros(TOKENIZER.vocab_size, np.float32)
    favour[TOKENIZER.encode("\n")[0]] = 3.0
    return HashModel(HashModelOptions(vocab_size=TOKENIZER.vocab_size, looks_back=looks_back, favour=favour))


def row_after(model: HashModel, token_ids: list[int]) -> np.ndarray:
    state = model.new_state()
    logits = model.sweep([Span(state, token_ids, Want.LAST_LOGITS)]).logits
    state.commit(len(token_ids))
    state.close()
    return log_softmax(logits)[0]


def naive_rivals(model: HashModel, reading: Reading, search: RivalSearch) -> list[Rival]:
    found = []
    for place, token_id in enumerate(reading.text_ids):
        before = [*reading.before_ids, *reading.text_ids[:place]]
        row = row_after(model, before)
        for rival in sorted(range(len(row)), key=lambda i: (-row[i], i))[: search.rivals_per_token + 1]:
            piece = TOKENIZER.decode([token_id])
            text = TOKENIZER.decode([rival])
            if rival == token_id or (not text.strip() and not piece.strip()):
                continue
            found.append((float(row[rival]) - float(row[token_id]), place, rival, before))
    found.sort(key=lambda one: (-one[0], one[1], one[2]))
    rivals = []
    for log_odds, place, rival, before in found[: search.most]:
        written = [rival]
        while "\n" not in TOKENIZER.decode(written) and len(written) < search.max_tokens:
            if written[-1] in TOKENIZER.end_ids:
                break
            written.append(int(row_after(model, [*before, *written]).argmax()))
        rivals.append(Rival(place, TOKENIZER.decode(written).partition("\n")[0], log_odds))
    return rivals


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_rivals_are_those_of_a_twin_that_sweeps_each_branch_alone(chunk: int) -> None:
    model = likely_newlines()
    texts, search = texts_of(model, chunk), RivalSearch(most=9, max_tokens=12)
    reading = texts.read(GIVEN)
    found = run(model, texts.rivals(model, reading, search))
    expected = naive_rivals(likely_newlines(), reading, search)
    assert [(rival.at, rival.text) for rival in found] == [(rival.at, rival.text) for rival in expected]
    assert np.allclose([r.log_odds for r in found], [r.log_odds for r in expected], atol=1e-5)
    assert len(found) == 9
    assert model.open_states == 0


def test_all_branches_ride_in_the_same_sweeps() -> None:
    widths: list[int] = []
    options = HashModelOptions(
        vocab_size=TOKENIZER.vocab_size, on_sweep=lambda _, spans: widths.append(len(spans)), context_length=None
    )
    model = HashModel(options)
    texts = texts_of(model, 64)
    run(model, texts.rivals(model, texts.read(GIVEN), RivalSearch(most=8, max_tokens=6)))
    assert max(widths) >= 7  # a rival that is itself a line's end needs no sweep
    assert len([width for width in widths if width > 1]) <= 6


def test_rivals_keep_to_the_lines_that_were_asked_for() -> None:
    model = likely_newlines()
    texts = texts_of(model)
    given = GivenText(text="aaaa\nbbbb\ncccc\ndddd\n", opening=">")
    search = RivalSearch(most=40, lines=frozenset({3}), rivals_per_token=1)
    found = run(model, texts.rivals(model, texts.read(given), search))
    assert found
    assert {given.text[: rival.at].count("\n") + 1 for rival in found} <= {3, 4}  # a line may also be put behind it


def test_log_probabilities_are_those_of_each_text_alone() -> None:
    model = likely_newlines(looks_back=0)
    texts = texts_of(model)
    others = ["def f(x):\n    return x - 1\n", "def f(y):\n", GIVEN.text, GIVEN.text + "z" * 300, "q"]
    reading = texts.read(GIVEN)
    found = run(model, texts.log_probabilities(model, reading, [texts.read(GIVEN, other) for other in others]))
    for text, total in zip([GIVEN.text, *others], found, strict=True):
        ids = TOKENIZER.encode(text)
        before = [list(reading.before_ids) + ids[:place] for place in range(len(ids))]
        expected = math.fsum(float(row_after(model, b)[i]) for b, i in zip(before, ids, strict=True))
        assert math.isclose(total, expected, rel_tol=1e-5)
    assert model.open_states == 0


def test_a_text_that_cannot_be_read_is_refused() -> None:
    model = HashModel(HashModelOptions(context_length=32))
    texts = texts_of(model)
    with pytest.raises(RequestError, match="at least one token"):
        texts.read(GivenText(text="", opening="x"))
    with pytest.raises(ContextOverflow, match="shorter text"):
        texts.read(GivenText(text="x" * 40, opening="x"))


def backend_around(model: HashModel) -> LocalBackend:
    return LocalBackend(model, TOKENIZER, ByteChatFormat(), ModelCard(name="hash"))


async def test_a_backend_answers_questions_beside_its_answers() -> None:
    model = likely_newlines()
    backend = backend_around(model)
    assert isinstance(backend, GivenTextReader)
    request = ChatRequest(request_id="a", messages=(ChatMessage(role="user", content="hi"),), max_tokens=40)

    async def answer() -> int:
        return len([event async for event in backend.chat(request)])

    search = RivalSearch(most=5)
    rivals, events, again = await asyncio.gather(backend.rivals(GIVEN, search), answer(), backend.rivals(GIVEN, search))
    texts = texts_of(model, model.prefill_chunk)
    twin = likely_newlines()
    assert list(rivals) == list(again) == run(twin, texts.rivals(twin, texts.read(GIVEN), search))
    assert events > 2
    await backend.close()
    assert model.open_states == 0


async def test_a_failing_sweep_ends_its_question_and_no_other() -> None:
    model = HashModel(HashModelOptions(fail_at=frozenset({1})))
    backend = backend_around(model)
    with pytest.raises(BackendError, match="fails on demand"):
        await backend.rivals(GIVEN, RivalSearch())
    assert len(await backend.log_probabilities(GIVEN, ["a"])) == 2
    await backend.close()
    assert model.open_states == 0


async def test_a_question_to_a_closed_engine_is_refused() -> None:
    backend = backend_around(HashModel())
    await backend.close()
    with pytest.raises(BackendError, match="closing"):
        await backend.log_probabilities(GIVEN, ["a"])
