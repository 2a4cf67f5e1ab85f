"""The clock finds the shape of a machine whose speed wanders."""

from __future__ import annotations

import random

import pytest

from vortex.machine.sweep_clock import AFTERMATH, KNOTS, SweepClock


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


def test_a_wide_sweep_pays_for_the_slow_ones_behind_it():
    clock = SweepClock(0.1)
    for _ in range(60):
        for _ in range(12):
            clock.observe(1, 1e-3)
        clock.observe(8, 2.0e-3)
        for behind in range(AFTERMATH):
            clock.observe(1, (1.2, 1.1, 1.05, 1.05)[behind] * 1e-3)
    assert clock.seconds(1) == pytest.approx(1e-3, rel=0.01)
    assert clock.shape(8) == pytest.approx(2.4, rel=0.02)


def test_block_upon_block_follows_the_machine():
    clock = SweepClock(0.2)
    for _ in range(20):
        clock.observe(1, 1e-3)
    for level_s in (1e-3, 2e-3):
        for _ in range(200):
            clock.observe(4, 1.6 * level_s)
            clock.observe(1, level_s)
        assert clock.seconds(1) == pytest.approx(level_s, rel=0.05)
        assert clock.seconds(4) == pytest.approx(1.6 * level_s, rel=0.05)
