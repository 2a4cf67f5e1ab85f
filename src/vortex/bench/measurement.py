"""The measurements there are. Each checks what it is about to time, then times it; a wrong result is never timed.

A part that brings a measurement adds one line to `MEASUREMENTS` and one command to `cli/bench.py`.
"""

from __future__ import annotations

from typing import Protocol

from vortex.bench.report import Report
from vortex.errors import VortexError

MEASUREMENTS = {
    "": "vortex.bench.generate:GenerateMeasurement",  # bare `vortex bench`
    "generate": "vortex.bench.blocks:BlocksMeasurement",
    "generate --equality": "vortex.bench.equality:EqualityMeasurement",
    "decode": "vortex.bench.decode:DecodeMeasurement",
    "start": "vortex.bench.start:StartMeasurement",
    "fidelity": "vortex.bench.fidelity:FidelityMeasurement",
    "kernels": "vortex.bench.kernels:KernelsMeasurement",
    "routes": "vortex.bench.routes:RoutesMeasurement",
    "c3": "vortex.bench.paging:PagingMeasurement",
    "paged-linear": "vortex.bench.paged_linear:PagedLinearMeasurement",
    "tokenizer": "vortex.bench.tokenizer:TokenizerMeasurement",
    "gateway": "vortex.bench.gateway:GatewayMeasurement",
    "gateway --step": "vortex.bench.homeostat:HomeostatMeasurement",
    "serve": "vortex.bench.serve:ServeMeasurement",
    "structured": "vortex.bench.structured:StructuredMeasurement",
}


class CheckFailed(VortexError):
    """What was to be measured gives wrong results."""


class Measurement(Protocol):
    def check(self) -> None:
        """Raise CheckFailed if what is about to be timed is wrong."""
        ...

    def measure(self) -> Report: ...


def run_measurement(measurement: Measurement) -> Report:
    """Check, then measure."""
    measurement.check()
    return measurement.measure()
