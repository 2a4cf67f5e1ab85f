"""Whole numbers at the native border are checked before they are narrowed, and sizes before they are multiplied."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vortex.kernels import dispatch
from vortex.kernels.formats import Format

WIDTH, HEAD = 32, 16


@pytest.fixture
def native() -> Any:
    if not dispatch.usable():
        pytest.skip("the native core was not built")
    return dispatch.load()


def layer(native: Any, **changes: Any) -> Any:
    rng = np.random.default_rng(1)
    rows = {"q": 2 * HEAD, "k": HEAD, "v": HEAD, "attention_out": WIDTH}
    weights = {name: 0.3 * rng.standard_normal((count, WIDTH), np.float32) for name, count in rows.items()}
    matrices = {
        name: native.Matrix(int(Format.F32), value.reshape(-1).view(np.uint8), len(value), WIDTH, False)
        for name, value in weights.items()
    }
    norms = {name: np.ones(WIDTH, np.float32) for name in ("attention_norm", "ffn_norm")}
    shape = {"heads": 2, "kv_heads": 1, "head_width": HEAD, "window": 0, "epsilon": 1e-6, "query_scale": 0.25,
             "gate": 0, "swiglu_limit": 0.0}  # fmt: skip
    return native.Layer({**shape, **changes}, matrices, norms, {})


def attended(native: Any, window: int, num_rows: int = 3) -> np.ndarray:
    x = np.random.default_rng(2).standard_normal((num_rows, WIDTH), np.float32)
    keys, values = np.zeros(HEAD * 16 * 2, np.uint8), np.zeros(HEAD * 16 * 2, np.uint8)
    sweep = native.Sweep(x, False)
    sweep.add_segment(keys, values, None, None, 16, num_rows, 0, None)
    angles = np.zeros((num_rows, HEAD // 2), np.float32)
    sweep.run(native.Workspace(), layer(native, window=window), 0, angles + 1, angles)
    return x


@pytest.mark.parametrize("window", [2**31, 2**32 - 1, 2**32 + 4, 2**63 - 1, 2**70, -1])
def test_a_window_that_does_not_fit_is_refused(native: Any, window: int) -> None:
    with pytest.raises(ValueError, match="window is outside"):
        layer(native, window=window)


def test_the_widest_window_sees_everything(native: Any) -> None:
    np.testing.assert_array_equal(attended(native, 2**31 - 1), attended(native, 0))
    assert not np.array_equal(attended(native, 1), attended(native, 0))


@pytest.mark.parametrize(("name", "value"), [("heads", 2**62), ("kv_heads", 0), ("head_width", -16), ("heads", "2")])
def test_sizes_that_do_not_fit_are_refused(native: Any, name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} is outside"):
        layer(native, **{name: value})


@pytest.mark.parametrize("rows", [2**57 + 153, 2**58, 2**62, 2**63 - 1, 0, -1])
def test_rows_whose_bytes_would_wrap_are_refused(native: Any, rows: int) -> None:
    """2^58 rows of 64 int8 blocks are 68 * 2^58 bytes, which wrap around 2^64."""
    for packed in (False, True):
        with pytest.raises(ValueError, match=r"do not fit|no multiple"):
            native.Matrix(int(Format.F32), np.zeros(153 * 64 * 4, np.uint8), rows, 64, packed)


def test_columns_whose_bytes_would_wrap_are_refused(native: Any) -> None:
    for columns in (2**62, 2**57, 2**40):
        with pytest.raises(ValueError, match=r"do not fit|no multiple"):
            native.Matrix(int(Format.F32), np.zeros(4096, np.uint8), 4, columns, False)
        with pytest.raises(ValueError, match=r"do not fit|no multiple"):
            native.pack(int(Format.F32), np.zeros(4096, np.uint8), 4, columns, np.zeros(4096, np.uint8))
