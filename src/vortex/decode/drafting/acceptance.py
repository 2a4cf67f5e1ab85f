"""How likely a guess stands, learned while answers come: by source, evidence, depth in the block, entropy, and whether
another source names the same token.

Every proposal is judged by what was sampled later, whether it was swept or not, so a source that is not used keeps
being learned about for nothing. Three levels lean on each other where counts are few: a cell (all of the above), the
source's evidence alone, and a prior; and on top what this very answer has shown. Kinds of sampling
(penalised or not, at a temperature or greedy) are learned apart.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

from vortex.decode.drafting.drafter import MAX_EVIDENCE, Proposal

DEPTH_BUCKETS = 4
WATCHED_TOKENS = 8
ENTROPY_EDGES_NATS = (0.3, 1.2)
ENTROPY_BUCKETS = len(ENTROPY_EDGES_NATS) + 2  # the last: not measured
KINDS = 4
PRIOR_STRENGTH = 6.0
PARENT_STRENGTH = 8.0
ANSWER_STRENGTH = 6.0
FORGET_ABOVE = 512.0  # trials, after which both counts are halved
ALONE, SECONDED, DISPUTED = range(3)  # what other sources say of a proposal's first token
_CELLS = DEPTH_BUCKETS * ENTROPY_BUCKETS * 3  # of a parent
_DEPTH_BUCKET = [min(depth.bit_length(), DEPTH_BUCKETS - 1) for depth in range(256)]


class SamplingKind(NamedTuple):
    """What is learned apart."""

    is_penalised: bool
    is_sampled: bool


class Acceptance:
    """Counts of one engine. priors: of each source, known by number, a probability by evidence; the last one holds for
    all above."""

    def __init__(self, priors: Sequence[Sequence[float]]) -> None:
        self._num_sources = len(priors)
        whole = [[*given, *[given[-1]] * (MAX_EVIDENCE + 1 - len(given))] for given in priors]
        self._priors = [share for _ in range(KINDS) for given in whole for share in given]  # by parent
        self._cells = _Counts(len(self._priors) * _CELLS)
        self._parents = _Counts(len(self._priors))

    def of_answer(self, kind: SamplingKind) -> AnswerAcceptance:
        return AnswerAcceptance(self, (2 * kind.is_penalised + kind.is_sampled) * self._num_sources)

    def probability(self, parent: int, cell: int) -> float:
        """parent: kind, source and evidence as one number; cell: depth and entropy as another."""
        share = self._parents.share(parent, self._priors[parent], PRIOR_STRENGTH)
        return self._cells.share(parent * _CELLS + cell, share, PARENT_STRENGTH)

    def learn(self, parent: int, cell: int, stood: bool) -> None:
        self._parents.add(parent, stood)
        self._cells.add(parent * _CELLS + cell, stood)


class AnswerAcceptance:
    """What is known in one answer. A source's newest proposal is judged as its tokens come."""

    def __init__(self, shared: Acceptance, first_source: int) -> None:
        self._shared = shared
        self._first_source = first_source  # of this kind of sampling
        self._own: dict[int, list[float]] = {}  # by parent: stood, judged
        self._open: dict[int, _Open] = {}

    def probability(self, source: int, evidence: int, depth: int, surroundings: int) -> float:
        """That a guess stands if all before it in the block do. depth: its place among the guesses, from 0.
        surroundings: of `surroundings_of`."""
        parent = (self._first_source + source) * (MAX_EVIDENCE + 1) + evidence
        share = self._shared.probability(parent, _DEPTH_BUCKET[depth] + surroundings)
        own = self._own.get(parent)
        return share if own is None else (own[0] + ANSWER_STRENGTH * share) / (own[1] + ANSWER_STRENGTH)

    def watch(self, source: int, proposal: Proposal, surroundings: int) -> None:
        """Judge this proposal by what comes, unless an earlier one of the source is not settled yet."""
        if source not in self._open:
            self._open[source] = _Open(proposal, surroundings)

    def judge(self, token_ids: Sequence[int]) -> None:
        """These tokens came."""
        if not self._open:
            return
        for source, watched in list(self._open.items()):
            proposal = watched.proposal
            for token_id in token_ids:
                depth = watched.depth
                stood = proposal.token_ids[depth] == token_id
                parent = (self._first_source + source) * (MAX_EVIDENCE + 1) + proposal.evidence[depth]
                self._learn(parent, _DEPTH_BUCKET[depth] + watched.surroundings, stood)
                watched.depth += 1
                if not stood or watched.depth == min(len(proposal.token_ids), WATCHED_TOKENS):
                    del self._open[source]
                    break

    def _learn(self, parent: int, cell: int, stood: bool) -> None:
        self._shared.learn(parent, cell, stood)
        own = self._own.setdefault(parent, [0.0, 0.0])
        own[0] += stood
        own[1] += 1.0
        if own[1] > 4 * ANSWER_STRENGTH:  # an answer changes: it quotes, and then it does not
            own[0] /= 2
            own[1] /= 2


class _Open:
    """A proposal of which `depth` tokens have come as guessed."""

    __slots__ = ("depth", "proposal", "surroundings")

    def __init__(self, proposal: Proposal, surroundings: int) -> None:
        self.proposal, self.surroundings, self.depth = proposal, surroundings, 0


class _Counts:
    def __init__(self, size: int) -> None:
        self._stood = array("f", bytes(4 * size))
        self._judged = array("f", bytes(4 * size))

    def share(self, index: int, expected: float, strength: float) -> float:
        return (self._stood[index] + strength * expected) / (self._judged[index] + strength)

    def add(self, index: int, stood: bool) -> None:
        self._stood[index] += stood
        self._judged[index] += 1.0
        if self._judged[index] > FORGET_ABOVE:
            self._stood[index] /= 2
            self._judged[index] /= 2


def surroundings_of(entropy_bucket: int | None, opinion: int) -> int:
    """What is known beside a proposal: the entropy behind the newest token, by its place among ENTROPY_EDGES_NATS
    (None: not measured), and `opinion`."""
    return (3 * (ENTROPY_BUCKETS - 1 if entropy_bucket is None else entropy_bucket) + opinion) * DEPTH_BUCKETS
