"""How one token is chosen from one row of logits, in the order in which it happens:

    logit bias → repetition, presence and frequency penalties → constraint mask            adjust_scores
    → temperature → top-k → top-p with adaptive k → min-p                                  keep_candidates
    → the greatest log-weight plus keyed Gumbel noise                                      noise.gumbel_argmax
                                                                   (temperature 0: the greatest adjusted score)

Everything after the mask keeps a prefix of one ranking (greatest score first, ties by lowest id), so filters decide
how many survive, never which of two equals. Arithmetic is float64. The choice depends on the arguments alone.
`sampling_reference.py` says the same in the plainest way and is the oracle of the tests.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from vortex.decode.noise import gumbel_argmax
from vortex.errors import BackendError
from vortex.types import SamplingOptions

NO_IDS = np.empty(0, dtype=np.int64)
_NUCLEUS_DEPTHS = (-4.0, -7.0, -10.0, -13.0, -math.inf)  # log-weights under the best


def choose_token(
    logits: np.ndarray,
    options: SamplingOptions,
    *,
    seen_ids: np.ndarray,
    seen_counts: np.ndarray,
    allowed: np.ndarray | None,
    key: int,
    forbidden: np.ndarray = NO_IDS,
) -> int:
    """One token id.

    logits: [vocab] float32. seen_ids, seen_counts: [distinct tokens of the penalty window]. allowed: [vocab] bool, or
    None for all. forbidden: ids that may not come, whatever `allowed` says. key: `noise.noise_key` of this output.
    BackendError where no token has a finite score.
    """
    if options.temperature == 0 and allowed is None and not options.logit_bias and len(seen_ids) + len(forbidden):
        best = _best_of_few_changes(logits, options, seen_ids, seen_counts, forbidden)
        if best is not None:
            return best
    if len(forbidden):
        allowed = np.ones(len(logits), dtype=np.bool_) if allowed is None else allowed.copy()
        allowed[forbidden] = False
    scores = adjust_scores(logits, options, seen_ids, seen_counts, allowed)
    best = int(scores.argmax())  # the first NaN, where there is one
    if not math.isfinite(scores[best]):
        raise BackendError(_why_no_token(logits, allowed))
    if options.temperature == 0:
        return best
    candidate_ids, log_weights = keep_candidates(scores, float(scores[best]), options)
    return gumbel_argmax(candidate_ids, log_weights, key)


def adjust_scores(
    logits: np.ndarray,
    options: SamplingOptions,
    seen_ids: np.ndarray,
    seen_counts: np.ndarray,
    allowed: np.ndarray | None,
) -> np.ndarray:
    """[vocab] float64 after bias, penalties and mask; the float32 logits themselves where nothing changes them.

    The repetition penalty divides positive scores and multiplies negative ones; presence subtracts a constant from
    every seen token, frequency as much for each time it was seen.
    """
    if not options.logit_bias and not len(seen_ids) and allowed is None:
        return logits
    scores = logits.astype(np.float64)
    if options.logit_bias:
        scores[list(options.logit_bias)] += list(options.logit_bias.values())
    if len(seen_ids):
        scores[seen_ids] = _penalised(scores[seen_ids], options, seen_counts)
    if allowed is not None:
        scores[~allowed] = -np.inf
    return scores


def _penalised(seen: np.ndarray, options: SamplingOptions, seen_counts: np.ndarray) -> np.ndarray:
    """[seen] float64 scores to penalised ones."""
    seen = np.where(seen > 0, seen / options.repetition_penalty, seen * options.repetition_penalty)
    penalised: np.ndarray = seen - options.presence_penalty - options.frequency_penalty * seen_counts
    return penalised


def _best_of_few_changes(
    logits: np.ndarray, options: SamplingOptions, seen_ids: np.ndarray, seen_counts: np.ndarray, forbidden: np.ndarray
) -> int | None:
    """The greedy choice where penalties change a few scores: the best of the changed ones against the best of the
    others, without a whole row in double precision. None where a score is not a number: the long way says why."""
    others = logits.copy()
    others[seen_ids] = -np.inf
    others[forbidden] = -np.inf
    best = int(others.argmax())
    best_score = float(others[best])
    changed = _penalised(logits[seen_ids].astype(np.float64), options, seen_counts)
    if len(forbidden):
        changed[np.isin(seen_ids, forbidden)] = -np.inf
    best_changed = float(changed.max()) if len(changed) else -math.inf
    if math.isnan(best_score) or math.isnan(best_changed) or not math.isfinite(max(best_score, best_changed)):
        return None
    if best_changed < best_score:
        return best
    changed_id = int(seen_ids[changed == best_changed].min())
    return min(best, changed_id) if best_changed == best_score else changed_id


def keep_candidates(scores: np.ndarray, best: float, options: SamplingOptions) -> tuple[np.ndarray, np.ndarray]:
    """Ids that survive temperature, top-k, top-p and min-p, and their log-weights (best 0). Any order."""
    with np.errstate(over="ignore"):  # a tiny temperature sends all but the best to -inf, which is what it means
        log_weights = scores.astype(np.float64)
        log_weights -= best
        log_weights /= options.temperature
    token_ids = _all_ids(len(log_weights))
    if 0 < options.top_k < len(token_ids):
        token_ids = _greatest(log_weights, options.top_k)
        log_weights = log_weights[token_ids]
    if options.top_p < 1:
        kept = _nucleus(log_weights, options)
        token_ids, log_weights = token_ids[kept], log_weights[kept]
    if options.min_p > 0:
        kept = np.flatnonzero(log_weights >= math.log(options.min_p))
        token_ids, log_weights = token_ids[kept], log_weights[kept]
    return token_ids, log_weights


@lru_cache(maxsize=4)
def _all_ids(vocab_size: int) -> np.ndarray:
    ids = np.arange(vocab_size)
    ids.setflags(write=False)
    return ids


def _greatest(values: np.ndarray, count: int) -> np.ndarray:
    """Ascending indices of the `count` greatest values; of equals at the edge the lowest indices."""
    edge = np.partition(values, len(values) - count)[len(values) - count]
    above = np.flatnonzero(values > edge)
    at_edge = np.flatnonzero(values == edge)[: count - len(above)]
    return np.sort(np.concatenate([above, at_edge]))


def _nucleus(log_weights: np.ndarray, options: SamplingOptions) -> np.ndarray:
    """Indices of the fewest greatest candidates that together weigh top_p, at least top_p_min_k of them and at most
    top_p_max_k (0: no limit)."""
    weights = np.exp(log_weights)
    target = options.top_p * weights.sum()
    least = min(options.top_p_min_k, len(weights))
    for depth in _NUCLEUS_DEPTHS:  # sorting is dear: try the heaviest candidates first
        likely = np.flatnonzero(log_weights >= depth)
        if len(likely) >= least and weights[likely].sum() >= target * (1 + 1e-9):
            break
    ranking = likely[np.argsort(-log_weights[likely], kind="stable")]
    count = int(np.searchsorted(np.cumsum(weights[ranking]), target)) + 1
    count = max(count, least)
    if options.top_p_max_k:
        count = min(count, options.top_p_max_k)
    return ranking[:count]


def _why_no_token(logits: np.ndarray, allowed: np.ndarray | None) -> str:
    if allowed is not None and not allowed.any():
        return "no token can follow under the constraint of this request; loosen its schema or grammar"
    if not np.isfinite(logits).any() or np.isnan(logits).any():
        return "the model gave logits that are not numbers; its files may be damaged (check them with `vortex doctor`)"
    return "bias and constraint together leave no token; loosen logit_bias or the schema"
