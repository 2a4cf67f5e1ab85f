"""The measurements there are. Each checks what it is about to time, then times it; a wrong result is never timed.

A part that brings a measurement adds one line to `MEASUREMENTS` and one command to `cli/bench/command.py`.
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
    "adapters": "vortex.bench.adapters:AdaptersMeasurement",
    "learn": "vortex.bench.learning:LearningMeasurement",
    "start": "vortex.bench.start:StartMeasurement",
    "fidelity": "vortex.bench.fidelity:FidelityMeasurement",
    "kernels": "vortex.bench.memory.kernels:KernelsMeasurement",
    "kernels --attention": "vortex.bench.memory.attention:AttentionMeasurement",
    "routes": "vortex.bench.memory.routes:RoutesMeasurement",
    "c3": "vortex.bench.memory.paging:PagingMeasurement",
    "attach": "vortex.bench.memory.attach:AttachMeasurement",
    "paged-linear": "vortex.bench.memory.paged_linear:PagedLinearMeasurement",
    "device-tier": "vortex.bench.memory.device_tier:DeviceTierMeasurement",
    "core parity": "vortex.bench.vblocks.parity:ParityMeasurement",
    "core flat": "vortex.bench.vblocks.flat:FlatMeasurement",
    "core clusters": "vortex.bench.vblocks.clusters:ClustersMeasurement",
    "core mqar, filler, passkey": "vortex.bench.vblocks.recall:RecallMeasurement",
    "tokenizer": "vortex.bench.tokenizer.comparison:TokenizerMeasurement",
    "tokenizer-quality": "vortex.bench.tokenizer.quality:QualityMeasurement",
    "gateway": "vortex.bench.wire.gateway:GatewayMeasurement",
    "gateway --step": "vortex.bench.wire.homeostat:HomeostatMeasurement",
    "replicas": "vortex.bench.wire.replicas:ReplicasMeasurement",
    "core-quality": "vortex.bench.vblocks.quality:CoreQualityMeasurement",
    "serve": "vortex.bench.wire.serve:ServeMeasurement",
    "agent-demo": "vortex.bench.agent_demo:AgentDemoMeasurement",
    "repair": "vortex.bench.repair.measure:RepairMeasurement",
    "knowledge retrieval": "vortex.bench.knowledge.retrieval:RetrievalMeasurement",
    "knowledge scale": "vortex.bench.knowledge.scale:ScaleMeasurement",
    "knowledge answers": "vortex.bench.knowledge.answers:AnswersMeasurement",
    "knowledge prefix": "vortex.bench.knowledge.prefix:PrefixMeasurement",
    "sandbox": "vortex.bench.sandbox.measurement:SandboxMeasurement",
    "injections": "vortex.bench.sandbox.injections:InjectionsMeasurement",
    "follow": "vortex.bench.sandbox.following:FollowMeasurement",
    "fuzz-web": "vortex.bench.sandbox.fuzzing:FuzzMeasurement",
    "first-answers": "vortex.bench.first_answers:FirstAnswersMeasurement",
    "restart": "vortex.bench.second_turn:SecondTurnMeasurement",
    "swap": "vortex.bench.swapping:SwapMeasurement",
    "structured": "vortex.bench.wire.structured:StructuredMeasurement",
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
