"""Which kernels run, how many threads, and a pool that survives what processes do."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading

import numpy as np
import pytest

from tests.kernels.weights import random_rows
from vortex.errors import ConfigError, MissingCapability
from vortex.kernels import dispatch
from vortex.kernels.formats import Format
from vortex.kernels.native import NativeCore
from vortex.kernels.packed import PackedMatrix, pack

X = np.random.default_rng(2).standard_normal((5, 256)).astype(np.float32)


def matrix() -> PackedMatrix:
    return PackedMatrix(Format.Q4_0, pack(Format.Q4_0, random_rows(Format.Q4_0, 160, 256), 160, 256), (160, 256))


def test_the_environment_forces_an_instruction_set(native: NativeCore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in native.available():
        monkeypatch.setenv("VORTEX_KERNELS", name)
        assert dispatch.load().current() == name
    assert dispatch.choices() == [*native.available(), "reference"]


def test_an_unknown_choice_lists_the_known_ones(native: NativeCore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VORTEX_KERNELS", "sse9")
    with pytest.raises(ConfigError, match=r"sse9.*scalar, reference"):
        dispatch.load()
    monkeypatch.setenv("VORTEX_KERNELS", "reference")
    assert not dispatch.usable()
    with pytest.raises(MissingCapability, match="VORTEX_KERNELS"):
        dispatch.load()


@pytest.mark.parametrize("text", ["0", "many", "-2", "1000"])
def test_a_senseless_number_of_threads_is_refused(
    native: NativeCore, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("VORTEX_THREADS", text)
    with pytest.raises(ConfigError, match="VORTEX_THREADS"):
        dispatch.load()


def test_more_threads_than_cores_and_several_callers(native: NativeCore) -> None:
    product = matrix()
    expected = product(X)
    native.set_threads(9)
    results: list[bool] = []

    def call() -> None:
        results.extend(np.array_equal(product(X), expected) for _ in range(20))

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(results) == 60
    assert all(results)


def test_a_forked_child_starts_a_pool_of_its_own() -> None:
    """In a process of its own: a fork of the test runner would carry other tests' threads."""
    code = """
import os
from tests.kernels.test_dispatch import X, matrix
from vortex.kernels import dispatch
dispatch.load().set_threads(3)
product = matrix()
expected = product(X).tobytes()
child = os.fork()
if not child:
    os._exit(0 if product(X).tobytes() == expected else 1)
assert os.waitpid(child, 0)[1] == 0
assert product(X).tobytes() == expected
"""
    if dispatch.native_module() is None or "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("needs the native core and fork")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_installation_says_what_it_uses() -> None:
    result = subprocess.run([sys.executable, "-m", "vortex.kernels"], check=True, capture_output=True, text=True)
    assert result.stdout.startswith("kernels: ")
