"""The clock finds the shape of a machine whose speed wanders."""

from __future__ import annotations

import random

import pytest

from vortex.models.sweep_clock import KNOTS, SweepClock


def test_a_shape_is_learned_while_the_machine_wanders():
    source = random.Random(5)
    clock = SweepClock(0.1)
    assert clock.seconds(4) is None

    def true_shape(rows):
        return 1 + 0.25 * (rows - 1)

    level_s = 5e-3
    for _ in range(4000):
        level_s *= source.uniform(0.99, 1.01)
        rows = source.choice((1, 1, 2, 4, 8, 16))
        spike = 10 if source.random() < 0.02 else 1
        clock.observe(rows, level_s * true_shape(rows) * source.uniform(0.9, 1.1) * spike)
    for rows in (2, 4, 8, 16):
        assert clock.shape(rows) == pytest.approx(true_shape(rows), rel=0.15)
    assert clock.seconds(1) == pytest.approx(level_s, rel=0.2)
    shapes = [clock.shape(rows) for rows in range(1, 100)]
    assert shapes == sorted(shapes)
    assert shapes[0] == 1.0


def test_prompts_teach_nothing_about_blocks():
    clock = SweepClock(0.1)
    clock.observe(1, 1e-3)
    clock.observe(KNOTS[-1] + 1, 5.0)
    assert clock.seconds(1) == 1e-3
