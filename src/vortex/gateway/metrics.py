"""What `/metrics` tells: decisions by mode and reason, controller state, upstream health, added latency."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from vortex.gateway.admission import Admission
from vortex.gateway.controller import ControllerState
from vortex.gateway.upstreams import Upstreams

ADDED_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1)
TTFT_BUCKETS_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)


class Metrics:
    """One registry per gateway, so that two in one process do not share numbers."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.decisions = Counter("lkn_decisions", "Decisions", ["mode", "reason"], registry=registry)
        self.requests = Counter("lkn_requests", "Finished requests", ["outcome"], registry=registry)
        self.escalations = Counter("lkn_escalations", "Held answers started anew", registry=registry)
        self.retries = Counter("lkn_retries", "Further attempts before the first byte", registry=registry)
        self.added = Histogram(
            "lkn_added_latency_seconds", "Before the request went on", buckets=ADDED_BUCKETS_S, registry=registry
        )
        self.ttft = Histogram(
            "lkn_ttft_seconds", "Until the engine's first data", buckets=TTFT_BUCKETS_S, registry=registry
        )
        self._gauges = {
            name: Gauge(f"lkn_{name}", text, registry=registry)
            for name, text in (
                ("threshold_offset", "Controller: added to the thresholds"),
                ("budget_factor", "Controller: times the budget of ANALITICO"),
                ("concurrency_factor", "Controller: times the most requests at the engines"),
                ("controller_frozen", "1 while the controller's outputs are kept"),
                ("active", "Requests at the engines"),
                ("queued", "Requests waiting"),
            )
        }
        self._upstream = Gauge("lkn_upstream_up", "1: takes requests", ["upstream"], registry=registry)
        self._in_flight = Gauge("lkn_upstream_in_flight", "Requests at this engine", ["upstream"], registry=registry)

    def count_decision(self, mode: str, reason: str) -> None:
        """`reason` without its details: signs make too many labels."""
        self.decisions.labels(
            mode, ":".join(reason.split(":")[:2]) if reason.startswith("exempt") else reason.split(":", maxsplit=1)[0]
        ).inc()

    def render(self, upstreams: Upstreams, admission: Admission, state: ControllerState, *, frozen: bool) -> bytes:
        values = {
            "threshold_offset": state.threshold_offset,
            "budget_factor": state.budget_factor,
            "concurrency_factor": state.concurrency_factor,
            "controller_frozen": float(frozen),
            "active": admission.active,
            "queued": admission.queued,
        }
        for name, value in values.items():
            self._gauges[name].set(value)
        for upstream in upstreams.all:
            self._upstream.labels(upstream.name).set(float(upstream.breaker.available))
            self._in_flight.labels(upstream.name).set(upstream.in_flight)
        return generate_latest(self.registry)
