"""Trainings that are stopped, killed, poisoned or damaged, and what is left of them."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from vortex.errors import ConfigError, ModelFileError, TrainingStopped
from vortex.learn.core_run import build_network, run_network, train_core
from vortex.training.batches import Batches
from vortex.training.documents import find_files
from vortex.training.loop import KeptStates, Training, TrainingOptions
from vortex.training.objective import mtp_weights
from vortex.training.schedule import Schedule, depth_target_at, learning_rate_factor
from vortex.training.state import newest_state
from vortex.training.token_store import open_store
from vortex.vblocks.checkpoint import read_core


def test_a_seed_gives_one_curve_and_another_seed_another(small_run, tmp_path) -> None:
    curves = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run = small_run(out=tmp_path / name)
        run = dataclasses.replace(run, options=dataclasses.replace(run.options, seed=seed))
        curves.append(train_core(run).curve)
    assert curves[0] == curves[1] != curves[2]
    assert curves[0][-1][1] < curves[0][0][1], "it learns"


class StopHere(Exception):
    pass


def test_a_training_that_is_cut_goes_on_as_if_it_had_not_been(small_run, tmp_path) -> None:
    unbroken = train_core(small_run(out=tmp_path / "unbroken"))

    def cut(tick) -> None:
        if tick.progress.step == 5:
            raise StopHere

    with pytest.raises(StopHere):
        train_core(small_run(), on_tick=cut)
    seen = []
    resumed = train_core(small_run(), on_tick=lambda tick: seen.append(tick.progress.step))
    assert seen == [5, 6], "it went on from the state of step 4"
    assert (resumed.curve, resumed.held_out) == (unbroken.curve, unbroken.held_out)
    left, right = (read_core(tmp_path / name).weights for name in ("unbroken", "run"))
    assert all((left[name] == right[name]).all() for name in left)


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_state(small_run, tmp_path) -> None:
    train_core(small_run())
    run = small_run(options=TrainingOptions(steps=6, window=24, batch=2))
    network = build_network(run)
    store = open_store(tmp_path / "data", find_files(run.data), run.encoder, limit_bytes=1 << 20)
    batches = Batches(store.train, window=24, batch=2, seed=0)

    def poison(tick) -> None:
        if tick.progress.step == 3:
            with torch.no_grad():
                network.embedding.weight[:] = math.nan

    training = Training(
        network, batches, None, run.options, KeptStates(tmp_path / "poisoned"), device=run.device, on_tick=poison
    )
    with pytest.raises(TrainingStopped, match="at step 3 is no number"):
        training.run()
    assert newest_state(tmp_path / "poisoned") is None, "nothing poisoned is saved"


def test_a_damaged_state_gives_way_to_the_one_before_it(small_run, tmp_path) -> None:
    train_core(small_run())
    states = sorted((tmp_path / "run" / "training" / "state").iterdir())
    assert [state.name for state in states] == ["step-00000004", "step-00000006"]
    file = states[1] / "optimizer.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert newest_state(tmp_path / "run" / "training") == states[0]
    (states[0] / "model.safetensors").unlink()
    with pytest.raises(ModelFileError, match="are damaged; remove"):
        newest_state(tmp_path / "run" / "training")


def test_other_options_do_not_go_on_with_a_training(small_run) -> None:
    train_core(small_run())
    run = small_run()
    other = dataclasses.replace(run, options=dataclasses.replace(run.options, learning_rate=1e-4))
    with pytest.raises(ConfigError, match="another options; give the same"):
        train_core(other)


def test_too_little_memory_names_a_smaller_batch(small_run, tmp_path) -> None:
    class Greedy(torch.nn.Linear):
        draft_heads = 0

        def forward(self, ids, with_mtp=True):
            return torch.empty(1 << 50)

        def parameter_groups(self, learning_rate, weight_decay):
            return [{"params": list(self.parameters()), "lr": learning_rate}]

    run = small_run()
    store = open_store(tmp_path / "data", find_files(run.data), run.encoder, limit_bytes=1 << 20)
    batches = Batches(store.train, window=24, batch=2, seed=0)
    training = Training(Greedy(2, 2), batches, None, run.options, None, device=run.device)
    with pytest.raises(TrainingStopped, match="step 0 does not fit into memory; try --batch-tokens 24"):
        training.run()


@pytest.mark.long
def test_the_baseline_trains_in_the_same_loop(small_run) -> None:
    progress = train_core(small_run(arch="transformer"))
    assert progress.curve[-1][1] < progress.curve[0][1]


def test_further_heads_come_one_after_the_other() -> None:
    assert mtp_weights(0.0, 2, 0.3) == (0.0, 0.0)
    assert mtp_weights(0.25, 2, 0.3) == (pytest.approx(0.15), 0.0)
    assert mtp_weights(1.0, 2, 0.3) == (0.3, pytest.approx(0.21))


def test_depth_gates_begin_open() -> None:
    shares = [depth_target_at(progress, 0.6) for progress in (0.0, 0.1, 0.35, 0.6, 1.0)]
    assert shares == pytest.approx([1.0, 1.0, 0.8, 0.6, 0.6])


def test_a_training_tells_its_gates_what_to_aim_at(small_run, tmp_path) -> None:
    run = small_run(out=tmp_path / "gated")
    run = dataclasses.replace(run, config=dataclasses.replace(run.config, depth_gating=True, depth_target=0.5))
    network, targets = build_network(run), []
    assert network.depth_target == 0.5
    run_network(run, network, on_tick=lambda tick: targets.append(network.depth_target))
    assert targets[0] == 1.0
    assert targets[-1] == 0.5
    assert targets == sorted(targets, reverse=True)


@pytest.mark.parametrize("schedule", list(Schedule))
def test_a_schedule_rises_and_falls(schedule: Schedule) -> None:
    factors = [learning_rate_factor(schedule, share / 100) for share in range(101)]
    peak = factors.index(max(factors))
    assert factors[0] < 0.1
    assert peak <= 4
    assert factors[-1] == pytest.approx(0.02)
    assert factors[peak:] == sorted(factors[peak:], reverse=True)


@pytest.mark.long
def test_kill_nine_at_any_moment_leaves_the_curve_of_an_unbroken_run(text_folder, tmp_path) -> None:
    """The real command, killed three times while it trains and saves."""

    def command(out) -> list[str]:
        options = {
            "--data": text_folder, "--out": out, "--tokenizer": "bytes", "--size": "tiny", "--window": 24,
            "--batch-tokens": 48, "--steps": 60, "--device": "cpu", "--set": "train_core.save_every=2",
        }  # fmt: skip
        arguments = [str(part) for pair in options.items() for part in pair]
        return [sys.executable, "-m", "vortex", "train-core", *arguments, "--set", "runtime.threads=1"]

    subprocess.run(command(tmp_path / "unbroken"), check=True, capture_output=True, timeout=240)
    states = tmp_path / "killed" / "training" / "state"
    for kill in range(3):
        process = subprocess.Popen(command(tmp_path / "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        aim, deadline = f"step-{14 * (kill + 1):08d}", time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if states.exists() and max((path.name for path in states.glob("step-*")), default="") >= aim:
                break
            time.sleep(0.005 * (kill + 1))
        assert process.poll() is None, "it is killed while it runs"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command(tmp_path / "killed"), check=True, capture_output=True, timeout=240)
    found = [json.loads((tmp_path / name / "curve.json").read_text()) for name in ("unbroken", "killed")]
    assert found[0]["curve"] == found[1]["curve"]
    assert found[0]["held_out"] == found[1]["held_out"]
    left, right = (read_core(tmp_path / name).weights for name in ("unbroken", "killed"))
    assert all((left[name] == right[name]).all() for name in left)


def test_a_trained_core_is_begun_with_and_its_new_gates_stand_wide_open(small_run, tmp_path) -> None:
    plain = small_run(out=tmp_path / "plain", config=dataclasses.replace(small_run().config, num_layers=2))
    train_core(plain)
    start = read_core(tmp_path / "plain")
    gated = dataclasses.replace(start.config, depth_gating=True, mtp_k=2)
    network = build_network(small_run(config=gated, start_from=start))
    ids = torch.randint(0, 256, (2, 24), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = network.eval()(ids).logits
        wanted = build_network(small_run(config=start.config, start_from=start)).eval()(ids).logits
    share = float(torch.sigmoid(network.layers[1].gate.bias).detach())
    assert 0.96 < share < 1
    assert (found - wanted).abs().max() < 0.05 * wanted.abs().max(), "every token still takes every layer"


def test_a_trained_core_of_other_sizes_is_refused(small_run, tmp_path) -> None:
    train_core(small_run())
    start = read_core(tmp_path / "run")
    with pytest.raises(ConfigError, match="has other sizes"):
        build_network(small_run(config=dataclasses.replace(start.config, width=32), start_from=start))
    with pytest.raises(ConfigError, match=r"does not fit the core to train: layers\.1"):
        build_network(small_run(config=dataclasses.replace(start.config, num_layers=2), start_from=start))
