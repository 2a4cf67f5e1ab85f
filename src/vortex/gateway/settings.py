"""Every variable of the gateway, its default and its range, and the settings objects they become.

Each part's settings are a small frozen dataclass; `GatewaySettings` holds them all. The defaults are the seed's
behaviour; a default that differs is explained in docs/evidence_log.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from vortex.config.addresses import ADDRESSES, Addresses, check
from vortex.config.variables import read_variables
from vortex.gateway.variables import VARIABLES, VERIFICATION


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionSettings:
    """What a decision depends on, beside the request itself."""

    mode: str = "homeostatic"
    strategy: str = "rules"
    entropy_threshold: float = 0.6
    probe_top_k: int = 10
    max_tokens_fluido: int = 150
    rule_threshold: float = 0.5
    band_low: float = 0.25
    band_high: float = 0.75
    statistic: str = "mean"
    hold_tokens: int = 8
    probe: str = "stream"
    probe_timeout_s: float = 5.0
    escalation: bool = True
    immunity: bool = True
    sticky_margin: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSettings:
    """What ANALITICO does to a request."""

    action: str = "instruction"
    inject: str = "tail"
    instruction: str = VERIFICATION
    analytic_budget_tokens: int = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeoutSettings:
    connect_timeout_s: float = 2.0
    first_token_timeout_s: float = 120.0
    gap_timeout_s: float = 30.0
    total_timeout_s: float = 900.0
    keepalive_s: float = 10.0
    client_stall_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings:
    breaker_failures: int = 5
    breaker_reset_s: float = 30.0
    retries: int = 1
    health_interval_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionSettings:
    max_in_flight: int = 128
    max_queue: int = 256
    queue_timeout_s: float = 30.0
    max_body_bytes: int = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerSettings:
    """Set points of the homeostat, and how fast it ticks."""

    controller: str = "on"
    tick_s: float = 1.0
    target_ttft_ms: float = 2000.0
    target_queue: float = 8.0
    target_share: float = 0.5
    target_error_rate: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSettings:
    ledger: bool = True
    ledger_path: str = "logs/gateway.jsonl"
    ledger_text: bool = False
    ledger_max_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    allowed_hosts: str = ""
    allowed_origins: str = ""


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


Part = TypeVar("Part")


def read_settings(
    environment: Mapping[str, str], env_file: Mapping[str, str], **flags: str | int | None
) -> GatewaySettings:
    """Variables of both sources; `flags` (LKN_HOST=…, given ones only) win over them. Raises ConfigError."""
    given = {name: str(value) for name, value in flags.items() if value is not None}
    merged = {**environment, **given}
    values = read_variables((*ADDRESSES, *VARIABLES), merged, env_file, known=())

    def part(kind: type[Part]) -> Part:
        names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
        chosen: dict[str, Any] = {name: value for name, value in values.items() if name in names}
        return kind(**chosen)

    return GatewaySettings(
        addresses=check(part(Addresses)),
        decision=part(DecisionSettings),
        action=part(ActionSettings),
        timeouts=part(TimeoutSettings),
        upstream=part(UpstreamSettings),
        admission=part(AdmissionSettings),
        controller=part(ControllerSettings),
        ledger=part(LedgerSettings),
        guard=part(GuardSettings),
    )
