"""Which rows of a sweep its spans want: the same for every model, so that all of them answer in the same order.

A batch holds the rows of all spans one after another. Nothing here computes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vortex.types import Span, Want


@dataclass(frozen=True, slots=True)
class WantedRows:
    """rows: int64, numbers in the batch. slices: where each span's stand among them, maybe empty."""

    rows: np.ndarray
    slices: tuple[slice, ...]


def num_logits(span: Span) -> int:
    """How many rows of the span, its last ones, are wanted as logits."""
    return {Want.LAST_LOGITS: 1, Want.ALL_LOGITS: len(span.token_ids)}.get(span.want, 0)


def num_hidden(span: Span) -> int:
    """How many rows of the span, all or none, are wanted as hidden rows."""
    return len(span.token_ids) if span.want is Want.ALL_HIDDEN else 0


def wanted_logits(spans: Sequence[Span]) -> WantedRows:
    return _wanted(spans, [num_logits(span) for span in spans])


def wanted_hidden(spans: Sequence[Span]) -> WantedRows:
    return _wanted(spans, [num_hidden(span) for span in spans])


def slices_of(counts: Sequence[int]) -> tuple[slice, ...]:
    """Parts of these lengths, one behind the other."""
    ends = itertools.accumulate(counts, initial=0)
    return tuple(slice(start, end) for start, end in itertools.pairwise(ends))


def _wanted(spans: Sequence[Span], counts: Sequence[int]) -> WantedRows:
    places = slices_of([len(span.token_ids) for span in spans])
    rows = [row for place, count in zip(places, counts, strict=True) for row in range(place.stop - count, place.stop)]
    return WantedRows(np.asarray(rows, np.int64), slices_of(counts))
