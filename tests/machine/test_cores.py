"""One rule for threads: the environment, the caller, affinity, a container's share; kernels and torch follow it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vortex.errors import ConfigError
from vortex.machine.cores import compute_threads, quotas, usable_cores

ON_ONE_CORE = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")


def printed_on_one_core(code: str) -> str:
    environment = {
        name: value for name, value in os.environ.items() if name not in {"VORTEX_THREADS", "OMP_NUM_THREADS"}
    }
    command = [sys.executable, "-c", ON_ONE_CORE + code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_who_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VORTEX_THREADS", raising=False)
    assert compute_threads() == usable_cores() >= 1
    assert compute_threads(7) == 7
    monkeypatch.setenv("VORTEX_THREADS", " 3 ")
    assert compute_threads() == compute_threads(7) == 3
    monkeypatch.setenv("VORTEX_THREADS", "three")
    with pytest.raises(ConfigError, match="VORTEX_THREADS='three'"):
        compute_threads()


@needs_affinity
def test_affinity_is_kept_to() -> None:
    code = "from vortex.kernels import dispatch; from vortex.machine.cores import usable_cores; "
    threads = "dispatch.load().threads() if dispatch.usable() else 1"
    assert printed_on_one_core(f"{code}print(usable_cores(), {threads})") == "1 1"


@needs_affinity
@pytest.mark.long
def test_torch_keeps_to_affinity() -> None:
    code = "from vortex.machine.torch_device import set_up_torch; print(set_up_torch('cpu')); "
    assert printed_on_one_core(f"{code}import torch; print(torch.get_num_threads())") == "cpu\n1"


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, [1.5]),
        ("0::/\n", {"cpu.max": "max 100000\n"}, []),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "200000 100000\n"}, [2.0]),
        ("0::/of/the/host\n", {"cpu.max": "50000 100000\n"}, [0.5]),
        ("5:memory:/x\n1:cpu,cpuacct:/x\n", {"cpu,cpuacct/x/cpu.cfs_quota_us": "300000\n",
                                            "cpu,cpuacct/x/cpu.cfs_period_us": "100000\n"}, [3.0]),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, []),
        ("0::/../outside\n", {}, []),
        ("nonsense\n\n", {"cpu.max": "nonsense\n"}, []),
    ],
)  # fmt: skip
def test_a_containers_share(membership: str, files: dict[str, str], expected: list[float], tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text(membership)
    assert list(quotas(tmp_path / "cgroup", written(tmp_path / "mounted", files))) == expected


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert list(quotas(tmp_path / "absent", tmp_path)) == []
