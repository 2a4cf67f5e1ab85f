"""Tokens to final text: stop strings and half characters, with their log-probabilities beside."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vortex.engine.answer_text import AnswerText
from vortex.tokenizer.byte_tokenizer import ByteTokenizer
from vortex.types import TokenLogprob


def run(data: bytes, stops: tuple[str, ...], min_tokens: int = 0):
    answer = AnswerText(0, ByteTokenizer().stream_decoder(), stops)
    deltas = []
    for count, byte in enumerate(data, start=1):
        answer.push(byte, TokenLogprob(byte, bytes([byte]), 0.0), may_stop=count > min_tokens)
        deltas.append(answer.take())
        if answer.stopped:
            break
    else:
        answer.finish()
        deltas.append(answer.take())
    text = "".join(delta.text for delta in deltas if delta)
    return text, bytes(one.token_id for delta in deltas if delta for one in delta.logprobs), deltas


@given(
    st.one_of(st.binary(max_size=20), st.text("añ😀b", max_size=10).map(str.encode)),
    st.lists(st.text("añ😀b", min_size=1, max_size=3), max_size=3).map(tuple),
)
def test_text_and_log_probabilities_end_at_the_stop(data, stops):
    text, shown, _ = run(data, stops)
    whole = data.decode(errors="replace")
    assert whole.startswith(text)
    assert not any(stop in text for stop in stops)
    if text == whole:
        assert shown == data
    else:
        assert any(whole[len(text) :].startswith(stop) for stop in stops)
        assert data.startswith(shown)
    if "\ufffd" not in whole:
        assert shown.decode(errors="ignore") == text, "at most a begun character more than the text"


def test_what_may_become_a_stop_is_held_back_and_let_go():
    _, _, deltas = run(b"xENx", ("END",))
    assert [delta.text if delta else None for delta in deltas] == ["x", None, None, "ENx", None]
    text, shown, _ = run(b"xEND", ("END",))
    assert (text, shown) == ("x", b"x")
    assert run(b"xEN", ("END",))[0] == "xEN"


def test_a_minimum_length_lets_stop_strings_pass():
    assert run(b"aaab", ("a",), min_tokens=2)[0] == "aa"
    assert run("ñ".encode(), ("ñ",), min_tokens=2)[0] == "ñ"
