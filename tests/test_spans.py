"""Which rows spans want: the last one, all, as logits or hidden, in the order of the spans."""

from __future__ import annotations

from vortex.models.hash_model import HashModel
from vortex.spans import num_hidden, num_logits, slices_of, wanted_hidden, wanted_logits
from vortex.types import Span, Want


def test_rows_are_numbers_in_the_batch_and_slices_lie_among_the_wanted() -> None:
    state = HashModel().new_state()
    wants = (Want.LAST_LOGITS, Want.ALL_HIDDEN, Want.NOTHING, Want.ALL_LOGITS)
    spans = [Span(state, [1] * length, want) for length, want in zip((3, 2, 4, 2), wants, strict=True)]
    assert [num_logits(span) for span in spans] == [1, 0, 0, 2]
    assert [num_hidden(span) for span in spans] == [0, 2, 0, 0]
    logits, hidden = wanted_logits(spans), wanted_hidden(spans)
    assert logits.rows.tolist() == [2, 9, 10]
    assert logits.slices == (slice(0, 1), slice(1, 1), slice(1, 1), slice(1, 3))
    assert hidden.rows.tolist() == [3, 4]
    assert hidden.slices == (slice(0, 0), slice(0, 2), slice(2, 2), slice(2, 2))


def test_nothing_wanted_is_no_row() -> None:
    assert slices_of([]) == ()
    assert len(wanted_logits([]).rows) == 0
