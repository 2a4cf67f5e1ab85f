"""What the server counts, kept for an hour while somebody looks, so that rates and curves can be drawn.

Totals become rates between two looks; a total that fell (the server began anew) begins anew.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from vortex.console.show.curves import Curve, curve

KEPT_S = 3600.0
MAX_SAMPLES = 1200
LEAST_S = 2.0
TOKENS = "vortex_tokens_total{kind=completion}"
ANSWERS = "vortex_active_answers"
FAULTS, HITS = "vortex_page_faults", "vortex_prefetch_hits"
GATEWAY = ("threshold_offset", "budget_factor", "concurrency_factor")

Sample = tuple[float, Mapping[str, float]]


@dataclass(slots=True)
class Recorder:
    clock: Callable[[], float] = time.monotonic
    _samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=MAX_SAMPLES))

    def wants_one(self) -> bool:
        return not self._samples or self.clock() - self._samples[-1][0] >= LEAST_S

    def add(self, figures: Mapping[str, float]) -> None:
        now = self.clock()
        self._samples.append((now, dict(figures)))
        while now - self._samples[0][0] > KEPT_S:
            self._samples.popleft()

    def curves(self) -> list[tuple[str, Curve | None]]:
        """By the name of what they show."""
        found = [("tokens_s", curve(self._rates(TOKENS))), ("answers", curve(self._values(ANSWERS)))]
        if self._samples and self._samples[-1][1].get(FAULTS, 0.0) + self._samples[-1][1].get(HITS, 0.0):
            found += [("faults_s", curve(self._rates(FAULTS))), ("hit_share", curve(self._hit_shares()))]
        return found

    def gateway_curves(self) -> list[tuple[str, Curve | None]]:
        return [(name, curve(self._values(name))) for name in GATEWAY]

    def _values(self, name: str) -> list[tuple[float, float]]:
        return [(at, figures[name]) for at, figures in self._samples if name in figures]

    def _rates(self, name: str) -> list[tuple[float, float]]:
        points = self._values(name)
        return [
            (at, max(0.0, value - before) / max(at - then, 1e-9)) for (then, before), (at, value) in pairwise(points)
        ]

    def _hit_shares(self) -> list[tuple[float, float]]:
        found = []
        for (at, hits), (_, faults) in zip(self._values(HITS), self._values(FAULTS), strict=False):
            if hits + faults:
                found.append((at, hits / (hits + faults)))
        return found


def tiles(metrics: Mapping[str, float], memory: Mapping[str, float]) -> list[tuple[str, str]]:
    """Figures by name, spelled; what is not counted here is left out. memory: bytes by name."""
    requests = metrics.get("vortex_requests_total", 0.0)
    failed = sum(value for name, value in metrics.items() if name.startswith("vortex_requests_total{status=5"))
    first_s, firsts = (
        metrics.get("vortex_first_token_seconds_sum", 0.0),
        metrics.get("vortex_first_token_seconds_count"),
    )
    found = [
        ("active", f"{metrics.get(ANSWERS, 0):.0f}"),
        ("queued", f"{metrics.get('vortex_engine_queued', 0):.0f}"),
        ("requests", f"{requests:,.0f}"),
        ("failed", f"{failed:,.0f}"),
        ("tokens", f"{metrics.get(TOKENS, 0):,.0f}"),
    ]
    if firsts:
        found.append(("first_token", f"{first_s / firsts * 1000:.0f} ms"))
    found += [(name, f"{value / 1e6:,.0f} MB") for name, value in memory.items() if value]
    counted = [("page_faults", FAULTS), ("prefetch_hits", HITS)]
    return found + [(name, f"{metrics[key]:,.0f}") for name, key in counted if metrics.get(key)]
