"""Real servers behind a real gateway, as processes: conversations find their prefix again, a death loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from vortex.bench.measurement import CheckFailed
from vortex.bench.wire.replicas import Heard, ReplicasMeasurement


def test_what_is_counted() -> None:
    heard = Heard()
    heard.add(200, {"usage": {"prompt_tokens": 40, "prompt_tokens_details": {"cached_tokens": 10}}})
    heard.add(503, {"error": {"message": "away"}})
    assert (heard.cached_share, heard.lost) == (0.25, 1)


@pytest.mark.long
def test_conversations_stay_where_their_prefix_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VORTEX_DATA", str(tmp_path))
    measurement = ReplicasMeasurement(["--backend", "hash"], replicas=3, conversations=4, turns=4, new_tokens=8)
    measurement.check()
    figures = measurement.measure().figures
    assert figures["affinity_of_one_server"] >= 0.9
    assert figures["affinity_cached_share"] >= figures["least_loaded_cached_share"]
    assert (figures["killed_lost"], figures["killed_answered"]) == (0, 16)


@pytest.mark.long
def test_servers_that_keep_no_prefix_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    serving = ["--backend", "hash", "--set", "runtime.prefix_cache_mb=0"]
    with pytest.raises(CheckFailed, match="found no prefix again"):
        ReplicasMeasurement(serving, replicas=2, conversations=2, turns=2, new_tokens=4).check()
