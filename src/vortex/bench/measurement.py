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
    "kernels --attention": "vortex.bench.attention:AttentionMeasurement",
    "routes": "vortex.bench.routes:RoutesMeasurement",
    "c3": "vortex.bench.paging:PagingMeasurement",
    "attach": "vortex.bench.attach:AttachMeasurement",
    "paged-linear": "vortex.bench.paged_linear:PagedLinearMeasurement",
    "device-tier": "vortex.bench.device_tier:DeviceTierMeasurement",
    "core parity": "vortex.bench.core_parity:ParityMeasurement",
    "core flat": "vortex.bench.core_flat:FlatMeasurement",
    "core clusters": "vortex.bench.core_clusters:ClustersMeasurement",
    "core mqar, filler, passkey": "vortex.bench.core_recall:RecallMeasurement",
    "tokenizer": "vortex.bench.tokenizer:TokenizerMeasurement",
    "tokenizer-quality": "vortex.bench.tokenizer_quality:QualityMeasurement",
    "gateway": "vortex.bench.gateway:GatewayMeasurement",
    "gateway --step": "vortex.bench.homeostat:HomeostatMeasurement",
    "core-quality": "vortex.bench.core_quality:CoreQualityMeasurement",
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
