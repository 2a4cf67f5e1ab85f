"""The ledger is kept, private and replayable."""

from __future__ import annotations

import json
import random
from pathlib import Path

import orjson
import pytest

from tests.gateway.running import both, ledger_lines
from vortex.backends.fake_engine import Script
from vortex.errors import ConfigError
from vortex.gateway.controller import ControllerState, Homeostat, Measurement
from vortex.gateway.decision import Evidence, decide
from vortex.gateway.ledger import Ledger, read_ledger
from vortex.gateway.settings import ControllerSettings, DecisionSettings, LedgerSettings
from vortex.gateway.study.replay import compare, policies_beside, replay

POLICY = DecisionSettings(strategy="entropy", hold_tokens=8, statistic="mean")


def evidence(draw: random.Random) -> Evidence:
    return Evidence(
        exempt=draw.choice(["", "", "", "tool_result"]),
        rule_score=round(draw.random(), 4),
        signs=tuple(draw.sample(["math", "code", "long"], draw.randrange(4))),
        prompt_tokens=draw.randrange(5000),
        prior_mode=draw.choice(["", "FLUIDO", "ANALITICO"]),
        threshold_offset=round(draw.random() * 0.35, 6),
        entropies=draw.choice([None, tuple(round(draw.random(), 6) for _ in range(draw.randrange(1, 9)))]),
    )


async def write_thousand(path: Path) -> None:
    draw, homeostat = random.Random(7), Homeostat(ControllerSettings())
    ledger = Ledger(LedgerSettings(ledger_path=str(path)))
    ledger.open()
    ledger.policy(POLICY, ControllerSettings())
    for _ in range(1000):
        seen = evidence(draw)
        ledger.request(
            seen, decide(seen, POLICY), ("c", "secret words"), {"result": "ok", "tokens": draw.randrange(99)}
        )
        before = homeostat.state
        measured = Measurement(ttft_p95_ms=draw.random() * 9000, queue=9.0, share=None, error_rate=0.0)
        ledger.tick(measured, before, homeostat.tick(measured))
    ledger.flush()


async def test_a_thousand_decisions_replay_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    await write_thousand(path)
    result = replay(path)
    assert (len(result.requests), result.ticks, result.identical) == (1000, 1000, True)
    assert "secret" not in path.read_text()


async def test_a_changed_line_is_found(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    await write_thousand(path)
    lines = path.read_bytes().splitlines()
    chosen = next(i for i, line in enumerate(lines) if b'"rules:' in line and b"FLUIDO" in line.split(b'"evidence"')[0])
    value = orjson.loads(lines[chosen])
    value["decision"]["score"] += 1e-6
    lines[chosen] = orjson.dumps(value)
    path.write_bytes(b"\n".join(lines) + b"\n")
    assert replay(path).different == [value["number"]]


async def test_other_policies_are_scored_on_the_same_traffic(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    await write_thousand(path)
    result = replay(path)
    scores = {s.name: s for s in compare(result.requests, policies_beside(POLICY, {"rule_threshold": "0.9"}))}
    assert scores["recorded"].changed == 0
    assert scores["never"].share_analytic == 0
    assert scores["always"].share_analytic > scores["recorded"].share_analytic > 0
    assert scores["yours"].changed >= 0
    with pytest.raises(ConfigError, match="no policy field 'nope'"):
        policies_beside(POLICY, {"nope": "1"})


async def test_live_traffic_replays(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    variables = {
        "LKN_LEDGER": "on",
        "LKN_LEDGER_PATH": str(path),
        "LKN_CONTROLLER": "on",
        "LKN_CONTROLLER_TICK_S": "0.02",
    }
    slower_than_the_target = Script(first_token_ms=3)  # or a fast machine gives the controller nothing to do
    async with both(slower_than_the_target, **variables, LKN_TARGET_TTFT_MS="1") as (_, running):
        for text in ("hello", "What is 3 * 4?", "Write a Python class", "thanks") * 10:
            await running.chat(text, stream=True)
    result = replay(path)
    assert (len(result.requests), result.identical) == (40, True)
    assert result.ticks > 0


async def test_text_is_kept_only_where_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    async with both(LKN_LEDGER="on", LKN_LEDGER_PATH=str(path), LKN_LEDGER_TEXT="on") as (_, running):
        await running.chat("my words")
    assert ledger_lines(path)[-1]["text"] == "my words"


async def test_a_torn_line_is_dropped_and_the_file_starts_anew_at_its_size(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    path.write_bytes(b'{"type":"old"}\n{"type":"torn')
    settings = LedgerSettings(ledger_path=str(path), ledger_max_bytes=4096)
    ledger = Ledger(settings)
    ledger.open()
    ledger.policy(POLICY, ControllerSettings())
    ledger.flush()
    assert [line["type"] for line in read_ledger(path)] == ["old", "policy"]
    for _ in range(30):
        ledger.request(Evidence(), decide(Evidence(), POLICY), ("", ""), {})
        ledger.flush()
    old = path.with_suffix(".1.jsonl")
    assert path.stat().st_size <= 4096
    assert old.stat().st_size <= 4096
    assert next(read_ledger(path))["type"] == "policy", "every file says what it follows"
    assert replay(path).identical


async def test_a_full_disk_stops_the_ledger_and_no_request(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "l.jsonl"
    async with both(LKN_LEDGER="on", LKN_LEDGER_PATH=str(path)) as (_, running):
        running.gateway.ledger.flush()
        path.unlink()
        path.with_suffix(".key").unlink()
        path.parent.rmdir()
        assert (await running.chat()).status == 200
        running.gateway.ledger.flush()
        assert running.gateway.ledger.lost_lines == 1


def test_a_ledger_that_cannot_be_written_names_its_variable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="LKN_LEDGER_PATH"):
        Ledger(LedgerSettings(ledger_path=str(tmp_path / "file" / "l.jsonl"))).open()


def test_a_file_that_is_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no ledger at"):
        replay(tmp_path / "missing.jsonl")
    (tmp_path / "x.jsonl").write_text("{broken}\n{}\n")
    with pytest.raises(ConfigError, match=r"x\.jsonl:1"):
        replay(tmp_path / "x.jsonl")


def test_the_key_makes_the_digest(tmp_path: Path) -> None:
    one, two = (
        Ledger(LedgerSettings(ledger_path=str(tmp_path / "a"))),
        Ledger(LedgerSettings(ledger_path=str(tmp_path / "b"))),
    )
    one.open()
    two.open()
    assert one.digest("x") != two.digest("x")
    again = Ledger(LedgerSettings(ledger_path=str(tmp_path / "a")))
    again.open()
    assert again.digest("x") == one.digest("x")


def test_state_goes_through_json() -> None:
    state = ControllerState(integrals=(0.1, 0.2, 0.3))
    assert json.loads(orjson.dumps(state))["integrals"] == [0.1, 0.2, 0.3]
