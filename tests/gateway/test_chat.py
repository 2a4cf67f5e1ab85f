"""One request's way through the gateway: modes, injection, the probe on the real stream, immunity, bytes kept."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gateway.running import QUICK, both, engine, gateway_before, ledger_lines
from vortex.backends.fake_engine import Script
from vortex.gateway.examine import examine
from vortex.gateway.intervene import analytic
from vortex.gateway.rules import score
from vortex.gateway.settings import VERIFICATION, ActionSettings

UNSURE = "What is 12 * 7?"  # one sign: inside the band of the entropy strategy
SURE = "Calculate step by step: what is 12 * 7?"
ENTROPY = {
    "LKN_DECISION_STRATEGY": "entropy",
    "LKN_HOLD_TOKENS": "8",
    "LKN_ENTROPY_STATISTIC": "mean",
    "LKN_KEEPALIVE_S": "5",
}


def doubtful(level: float) -> Script:
    """Doubt in the plain answer; none once the instruction is there."""
    return Script(
        num_tokens=12,
        entropy=lambda body, index: level,
        answer=lambda body: (
            "careful answer here" if VERIFICATION in str(body["messages"]) else " ".join("abcdefghijkl")
        ),
    )


async def test_fluido_hands_on_the_clients_own_bytes() -> None:
    async with both() as (fake, running):
        body = b'{"messages":  [{"role":"user","content":"hi"}],   "x_unknown": 1.50, "stream": false}'
        answer = await running.post("/v1/chat/completions", body)
        assert (answer.mode, answer.headers["x-lkn-reason"]) == ("FLUIDO", "rules:small_talk")
        assert fake.observed.bodies[-1]["x_unknown"] == 1.5
        assert "authorization" not in fake.observed.headers[-1]


async def test_answers_are_forwarded_byte_for_byte() -> None:
    async with both(Script(num_tokens=40)) as (fake, running):
        body = {
            "messages": [{"role": "user", "content": "hi"}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        through = await running.post("/v1/chat/completions", body)
        async with running.session.post(f"{fake.url}/v1/chat/completions", json=body) as direct:
            assert through.body == await direct.read()


@pytest.mark.parametrize("content", [SURE, [{"type": "text", "text": SURE}]])
async def test_analitico_puts_the_instruction_at_the_tail(content: Any) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]
    async with both() as (fake, running):
        answer = await running.post("/v1/chat/completions", {"messages": messages})
        sent = fake.observed.bodies[-1]["messages"]
        assert answer.mode == "ANALITICO"
        assert sent[:-1] == messages[:-1], "everything before the tail stays in the engine's prefix cache"
        tail = sent[-1]["content"] if isinstance(content, str) else sent[-1]["content"][-1]["text"]
        assert tail.endswith(VERIFICATION)
    async with both(LKN_INJECT="system") as (fake, running):
        await running.post("/v1/chat/completions", {"messages": copy.deepcopy(messages)})
        assert fake.observed.bodies[-1]["messages"][0] == {"role": "system", "content": VERIFICATION}


async def test_other_actions_than_the_instruction() -> None:
    async with both(LKN_ACTION="reasoning_effort") as (fake, running):
        await running.chat(SURE)
        assert fake.observed.bodies[-1]["reasoning_effort"] == "high"
        await running.chat(SURE, reasoning_effort="low")
        assert fake.observed.bodies[-1]["reasoning_effort"] == "low", "the client's own wish stands"
    async with both(LKN_ACTION="enable_thinking") as (fake, running):
        await running.chat(SURE)
        assert fake.observed.bodies[-1]["chat_template_kwargs"] == {"enable_thinking": True}


async def test_doubt_in_the_held_tokens_starts_anew_and_the_client_sees_one_clean_stream() -> None:
    async with both(doubtful(0.9), **ENTROPY) as (fake, running):
        answer = await running.chat(UNSURE, stream=True)
        assert (answer.mode, answer.headers["x-lkn-reason"]) == ("ANALITICO", "entropy:mean")
        assert answer.text == "careful answer here"
        assert len(fake.observed.bodies) == 2
        assert fake.observed.bodies[1]["messages"][-1]["content"] == f"{UNSURE}\n\n{VERIFICATION}"
        assert b"logprobs" not in answer.body
        metrics = (await running.get("/metrics")).body.decode()
        assert "lkn_escalations_total 1.0" in metrics


async def test_no_doubt_goes_on_with_the_same_stream_without_log_probabilities() -> None:
    async with both(doubtful(0.1), **ENTROPY) as (fake, running):
        answer = await running.chat(UNSURE, stream=True)
        assert (answer.mode, answer.text) == ("FLUIDO", " ".join("abcdefghijkl"))
        assert len(fake.observed.bodies) == 1, "the probe costs no request of its own"
        assert fake.observed.bodies[0]["top_logprobs"] == 10
        assert b"logprobs" not in answer.body


@pytest.mark.parametrize("text", ["hello", SURE])
async def test_where_rules_are_sure_nothing_is_held_or_asked(text: str) -> None:
    async with both(doubtful(0.9), **ENTROPY) as (fake, running):
        await running.chat(text, stream=True)
        assert [body.get("logprobs") for body in fake.observed.bodies] == [None]


@pytest.mark.parametrize(("level", "mode"), [(0.9, "ANALITICO"), (0.1, "FLUIDO")])
@pytest.mark.parametrize("stream", [True, False])
async def test_the_separate_probe(level: float, mode: str, stream: bool) -> None:
    async with both(doubtful(level), **ENTROPY, LKN_PROBE="separate") as (fake, running):
        answer = await running.chat(UNSURE, stream=stream, max_tokens=50)
        assert answer.mode == mode
        probe, asked = fake.observed.bodies
        assert (probe["max_tokens"], probe["logprobs"], "stream" in probe) == (8, True, False)
        assert (asked["max_tokens"], "logprobs" in asked) == (50, False)


async def test_the_seeds_probe_is_one_token_beforehand() -> None:
    variables = {
        "LKN_DECISION_STRATEGY": "entropy",
        "LKN_PROBE": "separate",
        "LKN_BAND_LOW": "0",
        "LKN_BAND_HIGH": "1.01",
        "LKN_ENTROPY_STATISTIC": "first",
    }
    async with both(doubtful(0.7), **variables) as (fake, running):
        assert (await running.chat("hello")).mode == "ANALITICO"
        assert (fake.observed.bodies[0]["max_tokens"], fake.observed.bodies[0]["top_logprobs"]) == (1, 10)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_engine_without_log_probabilities_means_fluido(stream: bool) -> None:
    async with both(Script(), **ENTROPY) as (fake, running):
        fake.script.answer = None
        original = fake._event
        fake._event = lambda body, delta, finish, logprobs=None: original(body, delta, finish)  # type: ignore[method-assign]
        fake._whole = lambda body, words: {
            "choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}]
        }  # type: ignore[method-assign]
        answer = await running.chat(UNSURE, stream=stream)
        assert (answer.status, answer.mode) == (200, "FLUIDO")
        assert answer.headers["x-lkn-reason"] == "probe_failed:no_logprobs"


async def test_a_probe_that_fails_means_fluido_never_an_error() -> None:
    async with both(Script(first_token_ms=400), **ENTROPY, LKN_PROBE="separate", LKN_PROBE_TIMEOUT_S="0.1") as (
        _,
        running,
    ):
        answer = await running.chat(UNSURE)
        assert (answer.status, answer.mode) == (200, "FLUIDO")
        assert answer.headers["x-lkn-reason"] == "probe_failed:timeout"


UNTOUCHABLE = {
    "structured_output": {"response_format": {"type": "json_schema", "json_schema": {}}},
    "several_choices": {"n": 2},
    "client_logprobs": {"logprobs": True},
    "tool_result": {
        "messages": [{"role": "user", "content": SURE}, {"role": "tool", "content": "84", "tool_call_id": "a"}]
    },
    "no_user_turn": {"messages": [{"role": "user", "content": SURE}, {"role": "assistant", "content": "It is"}]},
}


@pytest.mark.parametrize("reason", UNTOUCHABLE)
async def test_hands_off(reason: str) -> None:
    async with both(doubtful(0.9), **{**ENTROPY, "LKN_BAND_LOW": "0", "LKN_BAND_HIGH": "1.01"}) as (fake, running):
        body = {"messages": [{"role": "user", "content": SURE}], **UNTOUCHABLE[reason]}
        answer = await running.post("/v1/chat/completions", body)
        assert (answer.mode, answer.headers["x-lkn-reason"]) == ("FLUIDO", f"exempt:{reason}")
        assert fake.observed.bodies == [body]


TITLE = (
    "### Task:\nGenerate a concise, 3-5 word title.\n### Guidelines:\n- Solve 12 * 7 step by step\n### Output:\nJSON"
)


@pytest.mark.parametrize(
    ("text", "headers"),
    [(TITLE, None), (SURE, {"x-openwebui-task": "tags_generation"}), (SURE, {"x-lkn-task": "follow_up"})],
)
async def test_the_user_interfaces_own_calls_stay_fluido(text: str, headers: dict[str, str] | None) -> None:
    async with both() as (_, running):
        answer = await running.chat(text, headers=headers)
        assert answer.mode == "FLUIDO"
        assert answer.headers["x-lkn-reason"].startswith("exempt:task:")
    async with both(LKN_IMMUNITY="off") as (_, running):
        assert (await running.chat(text, headers=headers)).mode == "ANALITICO"
    async with both() as (_, running):
        assert (await running.chat(SURE, headers={"x-openwebui-task": "{{TASK}}"})).mode == "ANALITICO"


async def test_a_conversation_keeps_its_mode() -> None:
    edge = {"LKN_RULE_THRESHOLD": "0.35"}  # "how would" scores 0.3: below, and within the margin
    first = [{"role": "user", "content": SURE}]
    later = [*first, {"role": "assistant", "content": "84"}, {"role": "user", "content": "And how would that go on?"}]
    async with both(**edge) as (_, running):
        assert (await running.post("/v1/chat/completions", {"messages": later})).mode == "FLUIDO"
    async with both(**edge) as (_, running):
        assert (await running.post("/v1/chat/completions", {"messages": first})).mode == "ANALITICO"
        assert (await running.post("/v1/chat/completions", {"messages": later})).mode == "ANALITICO"


async def test_a_keep_alive_before_the_decision_says_pending_and_a_comment_tells_the_mode() -> None:
    script = doubtful(0.9)
    script.first_token_ms = 250
    early = {**ENTROPY, "LKN_KEEPALIVE_S": "0.1", "LKN_FIRST_TOKEN_TIMEOUT_S": "5", "LKN_TOTAL_TIMEOUT_S": "9"}
    async with both(script, **early) as (_, running):
        answer = await running.chat(UNSURE, stream=True)
        assert (answer.mode, answer.text) == ("PENDING", "careful answer here")
        assert b": lkn mode=ANALITICO reason=entropy:mean\n\n" in answer.body


async def test_a_defect_is_a_500_in_openais_shape() -> None:
    async with both() as (_, running):
        running.gateway._chat._begin = None  # type: ignore[assignment]
        answer = await running.chat()
        assert (answer.status, answer.json["error"]["code"]) == (500, "internal")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
messages = st.lists(
    json_values | st.fixed_dictionaries({"role": st.sampled_from(["user", "system", "tool"]), "content": json_values}),
    max_size=4,
)
fields = st.sampled_from(["n", "logprobs", "response_format", "chat_template_kwargs", "max_tokens", "grammar"])


@given(messages | json_values, st.dictionaries(fields, json_values))
def test_no_body_breaks_the_looking_at_it(given_messages: Any, more: dict[str, Any]) -> None:
    body = {**more, "messages": given_messages}
    facts = examine(body, {}, immunity=True)
    score(facts.text, 150)
    if not facts.exempt:
        for action in ("instruction", "reasoning_effort", "enable_thinking"):
            changed = analytic(body, ActionSettings(action=action), 0.5)
            assert len(changed["messages"]) == len(given_messages)


async def test_passthrough_changes_nothing() -> None:
    async with both(LKN_MODE="passthrough") as (fake, running):
        answer = await running.chat(SURE)
        assert (answer.mode, answer.headers["x-lkn-reason"]) == ("FLUIDO", "passthrough")
        assert fake.observed.bodies[-1]["messages"][-1]["content"] == SURE


async def test_other_paths_pass_through() -> None:
    async with both() as (_, running):
        assert (await running.post("/v1/embeddings", {"input": "x"})).json["data"]
        assert (await running.post("/v1/completions", {"prompt": "x"})).status == 200
        assert (await running.get("/v1/nothing")).status == 404
        assert (await running.get("/nothing")).status == 404


async def test_the_engine_gets_its_key_and_clients_need_theirs(tmp_path: Path) -> None:
    variables = {"LKN_API_KEY": "client-secret", "ENGINE_API_KEY": "engine-secret"}
    path = tmp_path / "ledger.jsonl"
    async with both(**variables, LKN_LEDGER="on", LKN_LEDGER_PATH=str(path)) as (fake, running):
        assert (await running.chat()).status == 401
        assert (await running.chat(headers={"authorization": "Bearer wrong"})).status == 401
        assert (await running.chat(headers={"authorization": "Bearer client-secret"})).status == 200
        assert fake.observed.headers[-1]["authorization"] == "Bearer engine-secret"
        assert (await running.get("/healthz")).status in {200, 503}
    assert "secret" not in path.read_text()


async def test_under_pressure_care_costs_less() -> None:
    async with both() as (fake, running):
        state = running.gateway.homeostat.state
        running.gateway.homeostat.state = type(state)(budget_factor=0.5)
        await running.chat(SURE)
        assert fake.observed.bodies[-1]["max_tokens"] == 512
        await running.chat(SURE, max_tokens=2000)
        assert fake.observed.bodies[-1]["max_tokens"] == 2000


async def test_freeze_over_the_wire() -> None:
    async with both() as (_, running):
        assert (await running.post("/lkn/controller", {"frozen": True})).json["frozen"] is True
        assert (await running.get("/lkn/state")).json["frozen"] is True
        assert (await running.post("/lkn/controller", {"frozen": "yes"})).status == 400


async def test_health_names_every_engine() -> None:
    async with engine() as good, gateway_before(good.url, "http://127.0.0.1:9", LKN_HEALTH_INTERVAL_S="60") as running:
        while any(upstream.reachable is None for upstream in running.gateway.upstreams.all):
            await running.get("/healthz")
        health = await running.get("/healthz")
        assert health.status == 200
        assert [engine["reachable"] for engine in health.json["upstreams"]] == [True, False]
        for _ in range(4):
            assert (await running.chat()).status == 200, "the one that is away is not chosen"


async def test_load_spreads_over_engines_within_the_bound() -> None:
    slow = Script(first_token_ms=50)
    async with engine(slow) as one, engine(slow) as two, gateway_before(one.url, two.url) as running:
        answers = await asyncio.gather(*(running.chat() for _ in range(10)))
        assert [answer.status for answer in answers] == [200] * 10
        counts = one.observed.counts["requests"], two.observed.counts["requests"]
        assert sum(counts) == 10
        assert min(counts) >= 1, "one conversation has a home, which passes on what is beyond the bound"


async def test_the_ledger_tells_everything_and_no_text(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    async with both(doubtful(0.9), **ENTROPY, LKN_LEDGER="on", LKN_LEDGER_PATH=str(path)) as (_, running):
        await running.chat(UNSURE, stream=True)
    policy, line = ledger_lines(path)
    assert policy["type"] == "policy"
    assert line["evidence"]["entropies"]
    assert (line["decision"]["mode"], line["outcome"]["escalated"], line["outcome"]["result"]) == (
        "ANALITICO",
        True,
        "ok",
    )
    assert line["outcome"]["tokens"] == 3
    assert "12 * 7" not in path.read_text()
    assert path.with_suffix(".key").stat().st_mode & 0o077 == 0


def test_quick_settings_are_settings() -> None:
    from vortex.gateway.settings import read_settings

    assert read_settings(QUICK, {}).timeouts.gap_timeout_s == 0.3


async def test_added_latency_is_told_finer_than_the_loop_s_clock() -> None:
    async with both() as (_, running):
        for _ in range(5):
            await running.chat()
        text = (await running.get("/metrics")).body.decode()
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert figures["lkn_added_latency_seconds_count"] == "5.0"
    assert 0 < float(figures["lkn_added_latency_seconds_sum"]) < 1
    assert float(figures["lkn_added_latency_seconds_sum"]) * 1000 % 1 != 0
    assert figures['lkn_decisions_total{mode="FLUIDO",reason="rules"}'] == "5.0"
    assert figures['lkn_requests_total{outcome="ok"}'] == "5.0"


async def test_what_was_read_as_json_is_handed_on_as_json() -> None:
    """`curl -d` calls everything a form."""
    async with both() as (fake, running):
        form = {"content-type": "application/x-www-form-urlencoded"}
        body = {"messages": [{"role": "user", "content": "hi"}]}
        assert (await running.post("/v1/chat/completions", body, form)).status == 200
        assert fake.observed.headers[-1]["content-type"] == "application/json"


async def test_an_engine_that_comes_or_goes_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "vortex.gateway")
    async with engine() as fake, gateway_before(fake.url, "http://127.0.0.1:9") as running:
        for _ in range(3):
            await running.gateway.upstreams.fetch_models()
        said = sorted(record.getMessage() for record in caplog.records if "engine-" in record.getMessage())
        assert said == [f"engine-0 at {fake.url} answers", said[1]]
        assert said[1].startswith("engine-1 at http://127.0.0.1:9 does not answer (no connection")
