"""Every variable of the gateway: its default, its range and its meaning, in the settings object it goes into.

Each part's settings are a small frozen dataclass; `GatewaySettings` holds them all. This is the only table:
config/.env.example is written from it (scripts/write_env_example.py). The defaults are the seed's behaviour; a default
that differs is explained in docs/evidence_log.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

from vortex.config.addresses import ADDRESSES, Addresses, check
from vortex.config.variables import choice, number, read_variables, switch, text, variables_of, whole

VERIFICATION = "Think carefully, verify your assumptions, and reason step-by-step before answering."


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionSettings:
    """What a decision depends on, beside the request itself."""

    mode: str = choice("LKN_MODE", ("homeostatic", "passthrough"), "passthrough: never decide, never change a request")
    strategy: str = choice("LKN_DECISION_STRATEGY", ("rules", "entropy"), "rules, or entropy where rules are unsure")
    entropy_threshold: float = number(
        "LKN_ENTROPY_THRESHOLD", 0.6, (0, 1), "Normalised entropy from which a request is ANALITICO"
    )
    probe_top_k: int = whole("LKN_PROBE_TOP_K", 10, (2, 20), "Log-probabilities asked per token")
    max_tokens_fluido: int = whole("LKN_MAX_TOKENS_FLUIDO", 150, (1, 1000000), "Longer prompts are ANALITICO by rule")
    rule_threshold: float = number("LKN_RULE_THRESHOLD", 0.5, (0, 1), "Rule score from which a request is ANALITICO")
    band_low: float = number("LKN_BAND_LOW", 0.25, (0, 1), "entropy: below this rule score rules are sure of FLUIDO")
    band_high: float = number(
        "LKN_BAND_HIGH", 0.75, (0, 1.01), "entropy: from this rule score rules are sure of ANALITICO"
    )
    statistic: str = choice(
        "LKN_ENTROPY_STATISTIC", ("mean", "first", "max"), "What is made of the entropies of the held tokens"
    )
    hold_tokens: int = whole("LKN_HOLD_TOKENS", 8, (1, 64), "Tokens held back in the unsure band")
    probe: str = choice(
        "LKN_PROBE", ("stream", "separate"), "stream: probe the answer itself; separate: ask beforehand"
    )
    probe_timeout_s: float = number("LKN_PROBE_TIMEOUT_S", 5, (0.01, 600), "Longest separate probe")
    escalation: bool = switch(
        "LKN_ESCALATION", True, "Start a held answer anew with the instruction; off: probe beforehand"
    )
    immunity: bool = switch("LKN_IMMUNITY", True, "Leave the user interface's own calls alone, shed them first")
    sticky_margin: float = number(
        "LKN_STICKY_MARGIN", 0.1, (0, 0.5), "Thresholds lean this much to the conversation's last mode; 0: off"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSettings:
    """What ANALITICO does to a request."""

    action: str = choice("LKN_ACTION", ("instruction", "reasoning_effort", "enable_thinking"), "What ANALITICO adds")
    inject: str = choice(
        "LKN_INJECT", ("tail", "system"), "Where the instruction goes; tail keeps the engine's prefix cache"
    )
    instruction: str = text("LKN_INSTRUCTION", VERIFICATION, "The verification instruction", own_only=True)
    analytic_budget_tokens: int = whole(
        "LKN_ANALYTIC_BUDGET_TOKENS",
        1024,
        (16, 1000000),
        "max_tokens of ANALITICO under pressure, times the budget factor",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeoutSettings:
    connect_timeout_s: float = number("LKN_CONNECT_TIMEOUT_S", 2, (0.01, 600), "Longest connect to an engine")
    first_token_timeout_s: float = number(
        "LKN_FIRST_TOKEN_TIMEOUT_S", 120, (0.01, 86400), "Longest wait for a stream's first data"
    )
    gap_timeout_s: float = number(
        "LKN_GAP_TIMEOUT_S", 30, (0.01, 86400), "Longest silence between data; comments do not count"
    )
    total_timeout_s: float = number("LKN_TOTAL_TIMEOUT_S", 900, (0.01, 86400), "Longest request")
    keepalive_s: float = number(
        "LKN_KEEPALIVE_S", 10, (0.01, 600), "Silence after which a stream's client gets a comment"
    )
    client_stall_s: float = number(
        "LKN_CLIENT_STALL_S", 60, (0.01, 86400), "Longest wait for a client that does not read"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings:
    breaker_failures: int = whole("LKN_BREAKER_FAILURES", 5, (1, 1000), "Consecutive failures that open the breaker")
    breaker_reset_s: float = number("LKN_BREAKER_RESET_S", 30, (0.01, 86400), "Open breaker tries again after")
    retries: int = whole("LKN_RETRIES", 1, (0, 5), "Further attempts before the first byte")
    health_interval_s: float = number("LKN_HEALTH_INTERVAL_S", 5, (0, 3600), "Between looks at the engines; 0: never")
    affinity_bound: float = number(
        "LKN_AFFINITY_BOUND",
        1.5,
        (0, 100),
        "A conversation leaves its engine while that has this many times the mean load; 0: always the least loaded",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionSettings:
    max_in_flight: int = whole("LKN_MAX_IN_FLIGHT", 128, (1, 100000), "Requests at the engines at once")
    max_queue: int = whole("LKN_MAX_QUEUE", 256, (0, 100000), "Requests waiting; more get 429")
    queue_timeout_s: float = number("LKN_QUEUE_TIMEOUT_S", 30, (0.01, 86400), "Longest wait in the queue")
    max_body_bytes: int = whole("LKN_MAX_BODY_BYTES", 32 << 20, (1024, 2 << 30), "Largest request")


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerSettings:
    """Set points of the homeostat, and how fast it ticks."""

    controller: str = choice(
        "LKN_CONTROLLER", ("on", "off", "freeze"), "The homeostat; freeze: keep its outputs where they are"
    )
    tick_s: float = number("LKN_CONTROLLER_TICK_S", 1, (0.01, 60), "Between steps of the homeostat")
    target_ttft_ms: float = number("LKN_TARGET_TTFT_MS", 2000, (1, 600000), "Set point: time to first token, p95")
    target_queue: float = number("LKN_TARGET_QUEUE", 8, (0.5, 100000), "Set point: waiting requests")
    target_share: float = number("LKN_TARGET_SHARE", 0.5, (0.01, 1), "Set point: share of ANALITICO")
    target_error_rate: float = number("LKN_TARGET_ERROR_RATE", 0.05, (0.001, 1), "Set point: share of engine errors")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSettings:
    ledger: bool = switch("LKN_LEDGER", True, "A JSON line per request")
    ledger_path: str = text("LKN_LEDGER_PATH", "logs/gateway.jsonl", "Where the lines go", own_only=True)
    ledger_text: bool = switch("LKN_LEDGER_TEXT", False, "Also keep the prompt's text (private!)", own_only=True)
    ledger_max_bytes: int = whole(
        "LKN_LEDGER_MAX_BYTES",
        64 << 20,
        (4096, 1 << 40),
        "The ledger starts anew at this size; one old file is kept",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    allowed_hosts: str = text("LKN_ALLOWED_HOSTS", "", "Further Host names, with commas", own_only=True)
    allowed_origins: str = text("LKN_ALLOWED_ORIGINS", "", "Further web origins, with commas", own_only=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    addresses: Addresses
    decision: DecisionSettings
    action: ActionSettings
    timeouts: TimeoutSettings
    upstream: UpstreamSettings
    admission: AdmissionSettings
    controller: ControllerSettings
    ledger: LedgerSettings
    guard: GuardSettings


PARTS: dict[str, type[Any]] = get_type_hints(GatewaySettings)
VARIABLES = variables_of(*(kind for kind in PARTS.values() if kind is not Addresses))


def read_settings(
    environment: Mapping[str, str], env_file: Mapping[str, str], **flags: str | int | None
) -> GatewaySettings:
    """Variables of both sources; `flags` (LKN_HOST=…, given ones only) win over them. Raises ConfigError."""
    given = {name: str(value) for name, value in flags.items() if value is not None}
    merged = {**environment, **given}
    values = read_variables((*ADDRESSES, *VARIABLES), merged, env_file, known=())

    parts = {part: kind(**{one.name: values[one.name] for one in fields(kind)}) for part, kind in PARTS.items()}
    check(parts["addresses"])
    return GatewaySettings(**parts)
