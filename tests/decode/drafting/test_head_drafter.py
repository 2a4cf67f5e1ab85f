"""Drafts of a model's own heads: which token each guesses, how sure it is, and that they grow old."""

import numpy as np

from vortex.decode.drafting.drafter import MAX_EVIDENCE
from vortex.decode.drafting.head_drafter import HeadPath

SURE, UNSURE = [0, 9, 0, 0], [0, 0, 0.5, 0]


def test_heads_guess_in_order_with_their_probability() -> None:
    path = HeadPath()
    assert path.propose([], 4) is None
    path.receive_heads(np.array([SURE, UNSURE], np.float32))
    proposal = path.propose([], 4)
    assert proposal.token_ids == [1, 2]
    assert proposal.evidence[0] == MAX_EVIDENCE - 1
    assert 3 <= proposal.evidence[1] <= 6
    assert path.propose([], 1).token_ids == [1]


def test_others_guesses_are_continued_where_they_agree() -> None:
    path = HeadPath()
    path.receive_heads(np.array([SURE, UNSURE], np.float32))
    assert path.propose([1], 4).token_ids == [2]
    assert path.propose([3], 4) is None
    assert path.propose([1, 2], 4) is None


def test_guesses_hold_for_one_token() -> None:
    path = HeadPath()
    path.receive_heads(np.array([SURE], np.float32))
    path.extend([1])
    assert path.propose([], 4) is None
