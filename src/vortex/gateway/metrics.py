"""What `/metrics` tells: decisions by mode and reason, controller state, upstream health, added latency.

Counted in plain numbers on the way of a request (the client library's own counters take a lock and a look-up
each), put into Prometheus' form when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from vortex.gateway.admission import Admission
from vortex.gateway.controller import ControllerState
from vortex.gateway.upstreams import Upstreams

ADDED_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1)
TTFT_BUCKETS_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)


class Distribution:
    """How many values (seconds) were in each bucket, and their sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def family(self, name: str, text: str) -> Metric:
        names = [*(f"{float(bound):g}" for bound in self._bounds), "+Inf"]
        counts = [float(count) for count in accumulate(self._counts)]
        return HistogramMetricFamily(name, text, buckets=list(zip(names, counts, strict=True)), sum_value=self._sum)


class Metrics:
    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.escalations = 0
        self.retries = 0
        self.added = Distribution(ADDED_BUCKETS_S)
        self.ttft = Distribution(TTFT_BUCKETS_S)
        self._decisions: Counter[tuple[str, str]] = Counter()

    def count_decision(self, mode: str, reason: str) -> None:
        """`reason` without its details: signs make too many labels, and a task's name is the client's to choose."""
        kind, _, rest = reason.partition(":")
        self._decisions[mode, f"{kind}:{rest.partition(':')[0]}" if kind == "exempt" else kind] += 1

    def render(self, upstreams: Upstreams, admission: Admission, state: ControllerState, *, frozen: bool) -> bytes:
        gauges = (
            ("threshold_offset", "Controller: added to the thresholds", state.threshold_offset),
            ("budget_factor", "Controller: times the budget of ANALITICO", state.budget_factor),
            ("concurrency_factor", "Controller: times the most requests at the engines", state.concurrency_factor),
            ("controller_frozen", "1 while the controller's outputs are kept", float(frozen)),
            ("active", "Requests at the engines", admission.active),
            ("queued", "Requests waiting", admission.queued),
        )
        families = [GaugeMetricFamily(f"lkn_{name}", text, value=value) for name, text, value in gauges]
        up = GaugeMetricFamily("lkn_upstream_up", "1: takes requests", labels=["upstream"])
        in_flight = GaugeMetricFamily("lkn_upstream_in_flight", "Requests at this engine", labels=["upstream"])
        for upstream in upstreams.all:
            up.add_metric([upstream.name], float(upstream.breaker.available))
            in_flight.add_metric([upstream.name], upstream.in_flight)
        registry = CollectorRegistry()
        registry.register(_Families([*self._counters(), *families, up, in_flight]))
        return generate_latest(registry)

    def _counters(self) -> Iterator[Metric]:
        decisions = CounterMetricFamily("lkn_decisions", "Decisions", labels=["mode", "reason"])
        for labels, count in sorted(self._decisions.items()):
            decisions.add_metric(labels, count)
        outcomes = CounterMetricFamily("lkn_requests", "Finished requests", labels=["outcome"])
        for outcome, count in sorted(self.outcomes.items()):
            outcomes.add_metric([outcome], count)
        yield decisions
        yield outcomes
        yield CounterMetricFamily("lkn_escalations", "Held answers started anew", value=self.escalations)
        yield CounterMetricFamily("lkn_retries", "Further attempts before the first byte", value=self.retries)
        yield self.added.family("lkn_added_latency_seconds", "Before the request went on")
        yield self.ttft.family("lkn_ttft_seconds", "Until the engine's first data")


class _Families:
    """What a registry asks for."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        return self._families
