"""Sampling noise that is a function of (seed, choice, output index, token id) and of nothing else.

An integer hash (splitmix64) gives 64 bits per token id; 52 of them become a double in (0, 1), and that a standard
Gumbel variate -log(-log(u)). Adding it to log-weights and taking the maximum draws from their softmax (Gumbel-max),
so a sample can be repeated exactly, whichever other tokens were considered and whatever else the machine was doing.

It is not cryptography: a seed can be recovered from enough output.
"""

from __future__ import annotations

import math

import numpy as np

_WORD = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB

_BLOCK = 16384  # ids hashed at once: the passes over them stay in the cache
_PRUNE_ABOVE = 1024  # fewer candidates than this are scored without asking which could win
_HEAD_DEPTH = 3.0  # log-weights this close to the best form the head of the candidates
_HEAD_PROBES = 64
_SLACK = 1e-9  # in u: far above rounding, far below anything that would keep many candidates


def mix(value: int) -> int:
    """The splitmix64 finaliser on one integer, modulo 2^64."""
    value &= _WORD
    value = ((value ^ (value >> 30)) * _MIX_1) & _WORD
    value = ((value ^ (value >> 27)) * _MIX_2) & _WORD
    return value ^ (value >> 31)


def noise_key(seed: int, choice: int, output_index: int) -> int:
    """64 bits that name one draw. Any integer is a seed; seeds are equal modulo 2^64."""
    key = mix(seed + _GAMMA)
    key = mix(key + (choice + 1) * _GAMMA)
    return mix(key + (output_index + 1) * _GAMMA)


def random_bits(token_ids: np.ndarray, key: int) -> np.ndarray:
    """[n] ids to [n] uint64: the splitmix64 stream that starts at `key`, read at position id."""
    bits = token_ids.astype(np.uint64)
    scratch = np.empty(min(len(bits), _BLOCK), dtype=np.uint64)
    for start in range(0, len(bits), _BLOCK):
        block = bits[start : start + _BLOCK]
        shifted = scratch[: len(block)]
        block *= np.uint64(_GAMMA)
        block += np.uint64(key)
        block ^= np.right_shift(block, np.uint64(30), out=shifted)
        block *= np.uint64(_MIX_1)
        block ^= np.right_shift(block, np.uint64(27), out=shifted)
        block *= np.uint64(_MIX_2)
        block ^= np.right_shift(block, np.uint64(31), out=shifted)
    return bits


def gumbel(bits: np.ndarray) -> np.ndarray:
    """[n] uint64 to [n] float64 standard Gumbel variates, all finite: u = (top 52 bits + 1/2) / 2^52."""
    uniform = ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    noise: np.ndarray = -np.log(-np.log(uniform))
    return noise


def gumbel_argmax(token_ids: np.ndarray, log_weights: np.ndarray, key: int) -> int:
    """The id whose log-weight plus noise is greatest; ties go to the lowest id.

    token_ids: [n]. log_weights: [n] float64 with maximum 0, -inf allowed.
    """
    bits = random_bits(token_ids, key)
    if len(token_ids) > _PRUNE_ABOVE:
        able = _could_win(log_weights, bits)
        token_ids, log_weights, bits = token_ids[able], log_weights[able], bits[able]
    scores = log_weights + gumbel(bits)
    return int(token_ids[scores == scores.max()].min())


def _could_win(log_weights: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """[n] bool, true wherever the noise might suffice: logarithms cost more than all the rest of a draw.

    Some of the heaviest candidates are scored exactly. To beat the best of them, a candidate of log-weight ≤ w needs
    noise of at least best - w, which is a lower bound on its bits; w is 0 in the head and -_HEAD_DEPTH elsewhere.
    """
    head = np.flatnonzero(log_weights > -_HEAD_DEPTH)
    probes = head[:_HEAD_PROBES]
    best = float((log_weights[probes] + gumbel(bits[probes])).max())
    able: np.ndarray = bits >= _least_bits(best + _HEAD_DEPTH)
    able[head] = bits[head] >= _least_bits(best)
    return able


def _least_bits(noise: float) -> np.uint64:
    """A lower bound of the bits that give at least this noise."""
    uniform = math.exp(-math.exp(-noise)) if noise > -100.0 else 0.0
    return np.uint64(int(max(uniform - _SLACK, 0.0) * 2.0**64))
