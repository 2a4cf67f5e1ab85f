"""`vortex bench hostile` on the shipped fake: bodies are counted, streams are read."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.server.conftest import running
from vortex.backends.fake import FakeBackend
from vortex.bench.measurement import run_measurement
from vortex.bench.wire import hostile
from vortex.bench.wire.hostile import HostileMeasurement
from vortex.bench.wire.serve_side import bare_router
from vortex.decode.structure.enforceable import enforceable


def test_every_body_is_answered_and_the_stream_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostile, "MANY", 50_000)
    backend = FakeBackend()
    with running(backend, routers=[bare_router(backend)]) as address, asyncio.Runner() as runner:
        report = run_measurement(HostileMeasurement(address, runner, rounds=1, new_tokens=24))
    found = json.loads(report.as_json())
    assert {body["status"] for body in found["bodies"].values()} == {400}
    assert found["schemas_compiled"] >= 0
    assert len(found["p99_alone_ms"]) == len(found["p99_beside_schemas_ms"]) == 1
    assert 0 < found["worst_healthz_ms"] < 60_000


def test_the_schemas_are_such_as_can_be_asked_for() -> None:
    for schema in hostile.hard_schemas():
        assert not enforceable(schema, strict=True).notes
