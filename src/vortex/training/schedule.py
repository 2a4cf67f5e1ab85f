"""What changes during a training: the learning rate, as a factor of its peak, and how open depth gates are to be."""

from __future__ import annotations

import math
from enum import StrEnum


class Schedule(StrEnum):
    COSINE = "cosine"  # down to `final` along half a wave
    WSD = "wsd"  # warm up, stay, and fall in the last fifth


def learning_rate_factor(schedule: Schedule, progress: float, *, warmup: float = 0.03, final: float = 0.02) -> float:
    """`progress`: share of the training that is done, 0 to 1. Warm-up is linear over its first `warmup`."""
    progress = min(1.0, max(0.0, progress))
    if progress < warmup:
        return (progress + 1e-3) / (warmup + 1e-3)
    if schedule is Schedule.COSINE:
        done = (progress - warmup) / (1 - warmup)
        return final + (1 - final) * (0.5 + 0.5 * math.cos(math.pi * done))
    fall = max(0.0, (progress - 0.8) / 0.2)
    return 1.0 - (1.0 - final) * fall


def depth_target_at(progress: float, target: float, *, opened: float = 0.1, reached: float = 0.6) -> float:
    """The share of tokens that gated layers are to take when `progress` of the training is done: all at first, since
    layers that close before they have learned anything never do; evenly fewer from `opened` to `reached`."""
    done = min(1.0, max(0.0, (progress - opened) / (reached - opened)))
    return 1.0 - (1.0 - target) * done
