"""The native core, restored to this machine's own choice after every test that forces another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vortex.kernels import dispatch
from vortex.kernels.native import NativeCore

CORE = dispatch.native_module()
INSTRUCTION_SETS = CORE.available() if CORE else []


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> Iterator[NativeCore]:
    if CORE is None:
        pytest.skip("the native core was not built")
    monkeypatch.delenv("VORTEX_KERNELS", raising=False)
    monkeypatch.delenv("VORTEX_THREADS", raising=False)
    module = dispatch.load()
    threads = module.threads()
    yield module
    module.use(module.available()[0])
    module.set_threads(threads)
