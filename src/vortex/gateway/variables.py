"""The table of the gateway's variables: name, field, default, range, meaning. `settings.py` makes objects of them.

A list's first choice is its default. docs/gateway-stack.md and config/.env.example are held to this table by a test.
"""

from __future__ import annotations

from vortex.config.variables import Variable

VERIFICATION = "Think carefully, verify your assumptions, and reason step-by-step before answering."


def whole(name: str, field: str, default: int, bounds: tuple[int, int], meaning: str) -> Variable:
    return Variable(name, field, str(default), meaning, "integer", *bounds)


def number(name: str, field: str, default: float, bounds: tuple[float, float], meaning: str) -> Variable:
    return Variable(name, field, str(default), meaning, "number", *bounds)


def switch(name: str, field: str, default: str, meaning: str) -> Variable:
    return Variable(name, field, default, meaning, "switch")


def choice(name: str, field: str, choices: str, meaning: str) -> Variable:
    options = tuple(choices.split("|"))
    return Variable(name, field, options[0], meaning, "choice", choices=options)


VARIABLES = (
    choice("LKN_MODE", "mode", "homeostatic|passthrough", "passthrough: never decide, never change a request"),
    choice("LKN_DECISION_STRATEGY", "strategy", "rules|entropy", "rules, or entropy where rules are unsure"),
    number(
        "LKN_ENTROPY_THRESHOLD",
        "entropy_threshold",
        0.6,
        (0, 1),
        "Normalised entropy from which a request is ANALITICO",
    ),
    whole("LKN_PROBE_TOP_K", "probe_top_k", 10, (2, 20), "Log-probabilities asked per token"),
    whole("LKN_MAX_TOKENS_FLUIDO", "max_tokens_fluido", 150, (1, 1000000), "Longer prompts are ANALITICO by rule"),
    number("LKN_RULE_THRESHOLD", "rule_threshold", 0.5, (0, 1), "Rule score from which a request is ANALITICO"),
    number("LKN_BAND_LOW", "band_low", 0.25, (0, 1), "entropy: below this rule score rules are sure of FLUIDO"),
    number("LKN_BAND_HIGH", "band_high", 0.75, (0, 1.01), "entropy: from this rule score rules are sure of ANALITICO"),
    choice("LKN_ENTROPY_STATISTIC", "statistic", "mean|first|max", "What is made of the entropies of the held tokens"),
    whole("LKN_HOLD_TOKENS", "hold_tokens", 8, (1, 64), "Tokens held back in the unsure band"),
    choice("LKN_PROBE", "probe", "stream|separate", "stream: probe the answer itself; separate: ask beforehand"),
    number("LKN_PROBE_TIMEOUT_S", "probe_timeout_s", 5, (0.01, 600), "Longest separate probe"),
    switch(
        "LKN_ESCALATION", "escalation", "on", "Start a held answer anew with the instruction; off: probe beforehand"
    ),
    switch("LKN_IMMUNITY", "immunity", "on", "Leave the user interface's own calls alone, shed them first"),
    number(
        "LKN_STICKY_MARGIN",
        "sticky_margin",
        0.1,
        (0, 0.5),
        "Thresholds lean this much to the conversation's last mode; 0: off",
    ),
    choice("LKN_ACTION", "action", "instruction|reasoning_effort|enable_thinking", "What ANALITICO adds"),
    choice("LKN_INJECT", "inject", "tail|system", "Where the instruction goes; tail keeps the engine's prefix cache"),
    Variable("LKN_INSTRUCTION", "instruction", VERIFICATION, "The verification instruction"),
    whole(
        "LKN_ANALYTIC_BUDGET_TOKENS",
        "analytic_budget_tokens",
        1024,
        (16, 1000000),
        "max_tokens of ANALITICO under pressure, times the budget factor",
    ),
    number("LKN_CONNECT_TIMEOUT_S", "connect_timeout_s", 2, (0.01, 600), "Longest connect to an engine"),
    number(
        "LKN_FIRST_TOKEN_TIMEOUT_S",
        "first_token_timeout_s",
        120,
        (0.01, 86400),
        "Longest wait for a stream's first data",
    ),
    number(
        "LKN_GAP_TIMEOUT_S", "gap_timeout_s", 30, (0.01, 86400), "Longest silence between data; comments do not count"
    ),
    number("LKN_TOTAL_TIMEOUT_S", "total_timeout_s", 900, (0.01, 86400), "Longest request"),
    number("LKN_KEEPALIVE_S", "keepalive_s", 10, (0.01, 600), "Silence after which a stream's client gets a comment"),
    number("LKN_CLIENT_STALL_S", "client_stall_s", 60, (0.01, 86400), "Longest wait for a client that does not read"),
    whole("LKN_BREAKER_FAILURES", "breaker_failures", 5, (1, 1000), "Consecutive failures that open the breaker"),
    number("LKN_BREAKER_RESET_S", "breaker_reset_s", 30, (0.01, 86400), "Open breaker tries again after"),
    whole("LKN_RETRIES", "retries", 1, (0, 5), "Further attempts before the first byte"),
    number("LKN_HEALTH_INTERVAL_S", "health_interval_s", 5, (0, 3600), "Between looks at the engines; 0: never"),
    whole("LKN_MAX_IN_FLIGHT", "max_in_flight", 128, (1, 100000), "Requests at the engines at once"),
    whole("LKN_MAX_QUEUE", "max_queue", 256, (0, 100000), "Requests waiting; more get 429"),
    number("LKN_QUEUE_TIMEOUT_S", "queue_timeout_s", 30, (0.01, 86400), "Longest wait in the queue"),
    whole("LKN_MAX_BODY_BYTES", "max_body_bytes", 33554432, (1024, 2**31), "Largest request"),
    choice("LKN_CONTROLLER", "controller", "on|off|freeze", "The homeostat; freeze: keep its outputs where they are"),
    number("LKN_CONTROLLER_TICK_S", "tick_s", 1, (0.01, 60), "Between steps of the homeostat"),
    number("LKN_TARGET_TTFT_MS", "target_ttft_ms", 2000, (1, 600000), "Set point: time to first token, p95"),
    number("LKN_TARGET_QUEUE", "target_queue", 8, (0.5, 100000), "Set point: waiting requests"),
    number("LKN_TARGET_SHARE", "target_share", 0.5, (0.01, 1), "Set point: share of ANALITICO"),
    number("LKN_TARGET_ERROR_RATE", "target_error_rate", 0.05, (0.001, 1), "Set point: share of engine errors"),
    switch("LKN_LEDGER", "ledger", "on", "A JSON line per request"),
    Variable("LKN_LEDGER_PATH", "ledger_path", "logs/gateway.jsonl", "Where the lines go"),
    switch("LKN_LEDGER_TEXT", "ledger_text", "off", "Also keep the prompt's text (private!)"),
    whole(
        "LKN_LEDGER_MAX_BYTES",
        "ledger_max_bytes",
        67108864,
        (4096, 2**40),
        "The ledger starts anew at this size; one old file is kept",
    ),
    Variable("LKN_ALLOWED_HOSTS", "allowed_hosts", "", "Further Host names, with commas"),
    Variable("LKN_ALLOWED_ORIGINS", "allowed_origins", "", "Further web origins, with commas"),
)
