"""Calibration on an engine whose behaviour is known: signals and thresholds end where they must."""

from __future__ import annotations

import dataclasses
import random

import pytest

from tests.gateway.running import QUICK, engine
from vortex.backends.synthetic import Known, synthetic_script
from vortex.errors import BackendError
from vortex.gateway.settings import DecisionSettings, read_settings
from vortex.gateway.study.calibrate import auroc, calibrate, sign_test, variables_of
from vortex.gateway.study.tasks import Task, make_tasks
from vortex.gateway.study.trial import Trial, run_trials


async def trials_on_synthetic(count: int, seed: int = 0) -> list[Trial]:
    tasks = make_tasks(count, seed)
    known = {task.prompt: Known(task.answer, task.difficulty) for task in tasks}
    settings = read_settings({**QUICK, "LKN_TOTAL_TIMEOUT_S": "30"}, {})
    async with engine(synthetic_script(known, settings.action.instruction)) as fake:
        addresses = dataclasses.replace(settings.addresses, engine_urls=(fake.url,))
        there = dataclasses.replace(settings, addresses=addresses)
        return await run_trials(there, tasks, max_tokens=256, parallel=16, on_done=lambda _: None)


async def test_the_machinery_finds_what_is_known() -> None:
    result = calibrate(await trials_on_synthetic(100), DecisionSettings())
    scores = {scored.name: scored for scored in result.policies}
    never, always, oracle = scores["never (FLUIDO)"], scores["always (ANALITICO)"], scores["oracle"]
    assert result.modes_differ
    assert [kind.name for kind in result.kinds] == ["arithmetic", "logic", "look-up", "small talk"]
    assert sum(kind.tasks for kind in result.kinds) == 100
    assert result.kinds[0].analitico.accuracy > result.kinds[0].fluido.accuracy
    assert oracle.accuracy >= always.accuracy > never.accuracy
    assert oracle.tokens < always.tokens
    combined = scores["combined, fitted"]
    assert combined.accuracy > always.accuracy - 0.1
    assert combined.tokens < always.tokens
    assert result.auroc["mean entropy, 8 tokens"] > result.auroc["one-token entropy"]  # type: ignore[operator]
    fitted = variables_of(result.fitted)
    environment = {**QUICK, **fitted}
    assert read_settings(environment, {}).decision.strategy in {"rules", "entropy"}, "what is fitted is a valid setting"


def test_modes_that_do_not_differ_are_told_so() -> None:
    draw = random.Random(1)
    tasks = make_tasks(60)
    same = []
    for task in tasks:
        right = draw.random() < 0.4
        same.append(Trial(task, 0.5, (0.5,), right, right, 10, 40))
    result = calibrate(same, DecisionSettings())
    assert (result.modes_differ, result.p_value) == (False, 1.0)
    assert set(result.auroc.values()) == {None}


def test_auroc() -> None:
    assert auroc([0.1, 0.2, 0.8, 0.9], [False, False, True, True]) == 1.0
    assert auroc([0.9, 0.1], [False, True]) == 0.0
    assert auroc([0.5, 0.5, 0.5], [True, False, False]) == 0.5
    assert auroc([0.5], [True]) is None


def test_sign_test_is_the_exact_binomial() -> None:
    task = make_tasks(1)[0]
    better = Trial(task, 0, (), False, True, 0, 0)
    worse = Trial(task, 0, (), True, False, 0, 0)
    assert sign_test([better] * 5) == pytest.approx(2 / 32)
    assert sign_test([better, worse]) == 1.0
    assert sign_test([]) == 1.0


def test_tasks_repeat_and_check_themselves() -> None:
    assert make_tasks(50, 3) == make_tasks(50, 3) != make_tasks(50, 4)
    for task in make_tasks(100):
        assert task.right(f"It must be\n{task.answer or 'hello'}")
        assert not task.right("")
    assert Task("arithmetic", "", "1234", 0).right("so 1,234.")
    assert not Task("arithmetic", "", "84", 0).right("84 or rather 85")
    assert not Task("logic", "", "Ana", 0).right("Anatole")
    oldest = Task("logic", "", "Ana", 0, ("Ana", "Ben"))
    assert oldest.right("Ben is younger, so the oldest is ana.")
    assert not oldest.right("Ana is older than Ben.\nAna is the ... Ben"), "naming everybody is no answer"


async def test_an_engine_that_fails_ends_the_calibration_with_one_line() -> None:
    async with engine() as fake:
        fake.script.fault = "status_500"
        settings = read_settings({**QUICK, "ENGINE_BASE_URL": fake.url}, {})
        with pytest.raises(BackendError, match="the engine failed during calibration: status 500"):
            await run_trials(settings, make_tasks(3), max_tokens=8, parallel=2, on_done=lambda _: None)
