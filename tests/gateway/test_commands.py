"""`vortex gateway …` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.gateway.running import both
from vortex.cli.commands import whole_app
from vortex.errors import BackendError, ConfigError

run = CliRunner()


async def test_replay_says_identical_and_ends_with_1_when_not(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    async with both(LKN_LEDGER="on", LKN_LEDGER_PATH=str(path)) as (_, running):
        for text in ("hello", "What is 3 * 4?"):
            await running.chat(text)
    words = ["gateway", "replay", str(path)]
    result = run.invoke(whole_app(), [*words, "--json", "--set", "rule_threshold=0.9"])
    found = json.loads(result.stdout)
    assert (result.exit_code, found["identical"], found["requests"]) == (0, True, 2)
    assert {row["policy"]: row["share_analytic"] for row in found["policies"]}["yours"] == 0
    assert "all identical, byte for byte" in run.invoke(whole_app(), words).stdout
    path.write_text(path.read_text().replace('"score":0.6', '"score":0.7'))
    assert run.invoke(whole_app(), words).exit_code == 1
    assert isinstance(run.invoke(whole_app(), [*words, "--set", "nonsense"]).exception, ConfigError)


def test_calibrate_on_the_synthetic_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run.invoke(
        whole_app(), ["gateway", "calibrate", "--synthetic", "--tasks", "40", "--parallel", "8", "--write"]
    )
    assert result.exit_code == 0, result.output
    assert "oracle" in result.stdout
    assert "LKN_ENTROPY_THRESHOLD=" in (tmp_path / "config" / ".env").read_text()


def test_freeze_without_a_gateway_says_so() -> None:
    result = run.invoke(whole_app(), ["gateway", "freeze", "--url", "http://127.0.0.1:9"])
    assert isinstance(result.exception, BackendError)
    assert "vortex status" in str(result.exception)
