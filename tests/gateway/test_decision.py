"""Rules, entropy and the decision made of them."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vortex.gateway.decision import Evidence, Mode, decide, wants_entropy
from vortex.gateway.entropy import normalised_entropy, settled, statistic
from vortex.gateway.rules import score
from vortex.gateway.settings import DecisionSettings

RULES = DecisionSettings()
ENTROPY = DecisionSettings(strategy="entropy")
CAREFUL = [
    "What is 17 * 23?",
    "A train has 12 cars with 40 seats. How many seats are there?",
    "Write a Python function that reverses a list.",
    "If all bloops are razzies, are all bloops lazzies?",
    "Compare the two designs step by step.",
    "Resuelve la ecuación 2x + 3 = 7",
    "¿Cuántos días hay en 3 semanas y 2 días?",
    "word " * 200,
]
EASY = ["Hello!", "Thanks!", "Hola, ¿qué tal?", "What is the capital of France?", "Tell me a joke.", "good night"]


@pytest.mark.parametrize("text", CAREFUL)
def test_rules_see_what_needs_care(text: str) -> None:
    rules = score(text, 150)
    assert decide(Evidence(rule_score=rules.score, signs=rules.signs), RULES).mode is Mode.ANALITICO, rules


@pytest.mark.parametrize("text", EASY)
def test_rules_let_the_easy_pass(text: str) -> None:
    rules = score(text, 150)
    assert decide(Evidence(rule_score=rules.score, signs=rules.signs), RULES).mode is Mode.FLUIDO, rules


def test_the_length_rule_follows_the_seeds_variable() -> None:
    text = "lorem ipsum " * 40  # 120 tokens
    assert "long" not in score(text, 150).signs
    assert "long" in score(text, 100).signs


@pytest.mark.parametrize(
    "piece", ["1 ", "\n", "select ", "first ", "?aaaa", "older than ", "- a\n", "def aaaaaaaaaa", "\t", "ñ"]
)
def test_a_hostile_prompt_costs_milliseconds(piece: str) -> None:
    text = piece * (2_000_000 // len(piece))
    best = min(_timed(text) for _ in range(3))
    assert best < 0.1, f"{best:.3f} s"


def _timed(text: str) -> float:
    started = time.perf_counter()
    score(text, 150)
    return time.perf_counter() - started


def test_entropy_is_the_seeds_formula() -> None:
    assert normalised_entropy([math.log(0.25)] * 4) == 1.0
    assert normalised_entropy([0.0, -1000.0]) == 0.0
    probabilities = [0.5, 0.25, 0.125, 0.125]
    expected = sum(-p * math.log2(p) for p in probabilities) / math.log2(4)
    assert normalised_entropy([math.log(p) for p in probabilities]) == pytest.approx(expected, abs=1e-6)
    unnormalised = [math.log(p / 7) for p in probabilities]
    assert normalised_entropy(unnormalised) == pytest.approx(expected, abs=1e-6)


windows = st.lists(st.floats(0, 1).map(lambda value: round(value, 6)), min_size=1, max_size=12)


@given(windows, st.sampled_from(["first", "mean", "max"]), st.floats(0, 1))
def test_an_early_decision_is_the_one_the_whole_window_gives(values: list[float], name: str, threshold: float) -> None:
    whole = statistic(name, values) >= threshold
    for seen in range(1, len(values) + 1):
        if settled(name, values[:seen], len(values), threshold):
            rest_low = statistic(name, values[:seen] + [0.0] * (len(values) - seen)) >= threshold
            rest_high = statistic(name, values[:seen] + [1.0] * (len(values) - seen)) >= threshold
            assert rest_low == rest_high == whole
            return
    raise AssertionError("a full window always settles")


def test_entropy_is_asked_only_where_rules_are_unsure() -> None:
    assert not wants_entropy(Evidence(rule_score=0.0), ENTROPY)
    assert not wants_entropy(Evidence(rule_score=0.9), ENTROPY)
    assert wants_entropy(Evidence(rule_score=0.5), ENTROPY)
    assert not wants_entropy(Evidence(rule_score=0.5), RULES)
    assert not wants_entropy(Evidence(rule_score=0.5, exempt="tool_result"), ENTROPY)
    seed = DecisionSettings(strategy="entropy", band_low=0.0, band_high=1.01)
    assert wants_entropy(Evidence(rule_score=0.0), seed)
    assert wants_entropy(Evidence(rule_score=1.0), seed)


@pytest.mark.parametrize(("entropy", "mode"), [(0.59, Mode.FLUIDO), (0.6, Mode.ANALITICO), (0.9, Mode.ANALITICO)])
def test_the_seeds_threshold_is_0_6(entropy: float, mode: Mode) -> None:
    assert decide(Evidence(rule_score=0.5, entropies=(entropy,)), ENTROPY).mode is mode


def test_a_failed_probe_means_fluido() -> None:
    decision = decide(Evidence(rule_score=0.5, probe_failed="timeout"), ENTROPY)
    assert (decision.mode, decision.reason) == (Mode.FLUIDO, "probe_failed:timeout")


def test_a_mode_is_sticky_with_hysteresis() -> None:
    edge = RULES.rule_threshold
    assert decide(Evidence(rule_score=edge - 0.05, prior_mode="ANALITICO"), RULES).mode is Mode.ANALITICO
    assert decide(Evidence(rule_score=edge + 0.05, prior_mode="FLUIDO"), RULES).mode is Mode.FLUIDO
    assert decide(Evidence(rule_score=edge - 0.15, prior_mode="ANALITICO"), RULES).mode is Mode.FLUIDO
    off = DecisionSettings(sticky_margin=0.0)
    assert decide(Evidence(rule_score=edge - 0.05, prior_mode="ANALITICO"), off).mode is Mode.FLUIDO


def test_the_controllers_offset_moves_the_threshold() -> None:
    assert decide(Evidence(rule_score=0.6), RULES).mode is Mode.ANALITICO
    assert decide(Evidence(rule_score=0.6, threshold_offset=0.2), RULES).mode is Mode.FLUIDO


def test_passthrough_never_decides() -> None:
    assert decide(Evidence(rule_score=1.0), DecisionSettings(mode="passthrough")).reason == "passthrough"
