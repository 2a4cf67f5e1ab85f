"""The stack: started, watched, stopped without a process left behind, whatever was killed in between."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vortex.config.addresses import read_addresses
from vortex.errors import ConfigError, MissingCapability
from vortex.stack.lock import Identity, ServiceLock, started_at
from vortex.stack.services import Service, check_machine, engine_command, engine_service
from vortex.stack.supervise import StackError, Supervisor

ROOT = Path(__file__).parent.parent.parent


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def eventually(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    found = Supervisor(tmp_path / "logs")
    yield found
    for lock in found.folder.glob("*.lock"):
        found.stop(lock.stem)


@pytest.fixture
def engine() -> Service:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "vortex.backends.fake_engine", "--port", str(port)]
    return Service("engine", command, url, f"{url}/v1/models", 20.0)


def test_start_watch_restart_stop(supervisor: Supervisor, engine: Service) -> None:
    assert supervisor.start(engine)
    supervisor.wait_ready(engine)
    state = supervisor.state(engine)
    assert (state.running, state.watched, state.ready) == (True, True, True)
    assert state.pid is not None
    assert (supervisor.folder / "engine.pid").read_text().strip() == str(state.pid)
    assert not supervisor.start(engine), "it runs already"
    os.kill(state.pid, signal.SIGKILL)
    eventually(lambda: supervisor.state(engine).pid not in {None, state.pid})
    supervisor.wait_ready(engine)
    last = supervisor.state(engine).pid
    assert supervisor.stop("engine")
    assert last is not None
    assert started_at(last) is None, "no process is left"
    assert not supervisor.ready(engine)
    assert not (supervisor.folder / "engine.pid").exists()
    assert not supervisor.stop("engine")


def test_a_killed_watcher_leaves_a_service_that_can_be_seen_and_stopped(
    supervisor: Supervisor, engine: Service
) -> None:
    supervisor.start(engine)
    supervisor.wait_ready(engine)
    holder = ServiceLock(supervisor.folder, "engine").holder()
    assert holder is not None
    os.kill(holder.watcher.pid, signal.SIGKILL)
    eventually(lambda: not supervisor.state(engine).watched)
    assert supervisor.state(engine).ready
    assert supervisor.stop("engine")
    assert started_at(holder.child.pid) is None


def test_everything_killed_at_once_heals_itself(supervisor: Supervisor, engine: Service) -> None:
    supervisor.start(engine)
    supervisor.wait_ready(engine)
    holder = ServiceLock(supervisor.folder, "engine").holder()
    assert holder is not None
    os.kill(holder.watcher.pid, signal.SIGKILL)
    os.kill(holder.child.pid, signal.SIGKILL)
    eventually(lambda: not supervisor.state(engine).running)
    assert supervisor.start(engine), "a stale lock is no lock"
    supervisor.wait_ready(engine)


def test_a_reused_pid_is_never_signalled(supervisor: Supervisor) -> None:
    """The files of a crash name a process that is somebody else's now."""
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        supervisor.folder.mkdir(parents=True)
        lock = ServiceLock(supervisor.folder, "engine")
        assert lock.take()
        lock.write(stranger.pid, stranger.pid)
        lock.release()
        (supervisor.folder / "engine.pid").write_text(str(stranger.pid))
        assert not supervisor.stop("engine")
        assert stranger.poll() is None
        assert not (supervisor.folder / "engine.pid").exists(), "the stale PID file heals"
        started = started_at(stranger.pid)
        assert started is not None
        assert not Identity(stranger.pid, started + 1).alive, "the same number, another process"
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.long
def test_one_that_ignores_sigterm_is_ended_with_its_children(supervisor: Supervisor, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "import os, signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal, time; "
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(99)']);"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}'); time.sleep(99)"
    )
    service = Service("engine", [sys.executable, "-c", code], "http://127.0.0.1:9", "http://127.0.0.1:9/", 5.0)
    supervisor.start(service)
    eventually(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    started = time.monotonic()
    assert supervisor.stop("engine")
    assert time.monotonic() - started < 25
    eventually(lambda: all(started_at(int(pid)) is None for pid in pids.read_text().split()), 3)


@pytest.mark.long
def test_what_cannot_start_is_given_up_with_its_reason(supervisor: Supervisor) -> None:
    code = "import sys; print('no such model', file=sys.stderr); sys.exit(2)"
    service = Service("engine", [sys.executable, "-c", code], "http://127.0.0.1:9", "http://127.0.0.1:9/", 20.0)
    supervisor.start(service)
    with pytest.raises(StackError, match="no such model"):
        supervisor.wait_ready(service)


def test_a_port_of_somebody_else_is_named(supervisor: Supervisor, engine: Service) -> None:
    stranger = subprocess.Popen(engine.command, stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: supervisor.ready(engine))
        with pytest.raises(StackError, match="this stack did not start"):
            supervisor.start(engine)
    finally:
        stranger.kill()
        stranger.wait()


def addresses(**variables: str):
    return read_addresses(variables, {})


def test_the_engines_commands() -> None:
    def command(kind: str, **more: str) -> list[str]:
        return engine_command(addresses(ENGINE_KIND=kind, **more), "127.0.0.1", 30000)

    assert command("vortex")[1:] == ["-P", "-m", "vortex", "serve", "--host", "127.0.0.1", "--port", "30000"]
    sglang = command("sglang")
    assert sglang[:5] == ["python3", "-m", "sglang.launch_server", "--model-path", "Qwen/Qwen2.5-3B-Instruct-AWQ"]
    assert sglang[5:] == ["--mem-fraction-static", "0.85", "--host", "127.0.0.1", "--port", "30000"]
    assert command("vllm", ENGINE_MODEL="m", ENGINE_MEM_FRACTION="0.5")[:5] == [
        "vllm", "serve", "m", "--gpu-memory-utilization", "0.5",
    ]  # fmt: skip
    assert command("llama-server", ENGINE_MODEL="a.gguf")[:3] == ["llama-server", "-m", "a.gguf"]
    assert command("external") == []
    with pytest.raises(ConfigError, match="ENGINE_MODEL"):
        command("llama-server")


def test_what_the_machine_lacks_is_said_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MissingCapability, match="ENGINE_KIND=sglang needs"):
        check_machine(addresses(ENGINE_KIND="sglang"))
    with pytest.raises(ConfigError, match="ENGINE_KIND=external"):
        engine_service(addresses(ENGINE_BASE_URL="http://10.0.0.5:30000"))


class Cli:
    def __init__(self, folder: Path, **variables: str) -> None:
        self._folder = folder
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHON": sys.executable, **variables}

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "vortex", *words],
            cwd=self._folder,
            env=self._environment,
            check=False,
            capture_output=True,
            text=True,
        )


@pytest.mark.long
def test_up_smoke_status_down_before_an_external_engine(tmp_path: Path, engine: Service) -> None:
    other = subprocess.Popen(engine.command, stdout=subprocess.DEVNULL)
    cli = Cli(tmp_path, ENGINE_KIND="external", ENGINE_BASE_URL=engine.url, LKN_PORT=str(free_port()))
    try:
        up = cli("up", "--no-ui")
        assert up.returncode == 0, up.stderr
        eventually(lambda: cli("status").returncode == 0)
        smoke = cli("smoke")
        assert smoke.returncode == 0, smoke.stdout
        assert smoke.stdout.count("✓") == 6
        assert "listening on" in cli("logs", "gateway").stdout
        assert (tmp_path / "logs" / "gateway.pid").exists()
        assert cli("down", "--no-ui").returncode == 0
        assert cli("smoke").returncode == 1
        assert cli("status").returncode == 1
        assert not (tmp_path / "logs" / "gateway.pid").exists()
    finally:
        cli("down", "--no-ui")
        other.kill()
        other.wait()


@pytest.mark.long
def test_the_default_engine_comes_up_passes_smoke_and_leaves_no_process(tmp_path: Path) -> None:
    cli = Cli(tmp_path, ENGINE_BASE_URL=f"http://127.0.0.1:{free_port()}", LKN_PORT=str(free_port()))
    try:
        up = cli("up", "--no-ui")
        assert up.returncode == 0, up.stderr
        smoke = cli("smoke")
        assert smoke.returncode == 0, smoke.stdout
        holders = [ServiceLock(tmp_path / "logs", name).holder() for name in ("engine", "gateway")]
        pids = [identity.pid for holder in holders if holder for identity in (holder.watcher, holder.child)]
        assert len(pids) == 4
    finally:
        assert cli("down", "--no-ui").returncode == 0
    assert [started_at(pid) for pid in pids] == [None] * 4


def test_a_wrong_setting_stops_up_before_anything_starts(tmp_path: Path) -> None:
    result = Cli(tmp_path, LKN_ENTROPY_THRESHOLD="7")("up", "--no-ui")
    assert result.returncode == 2
    assert "LKN_ENTROPY_THRESHOLD=7 is not allowed: set a number from 0 to 1" in result.stderr
    assert not (tmp_path / "logs" / "engine.log").exists()


def test_the_scripts_are_thin_faces() -> None:
    for name in ("start_all", "start_engine", "stop_engine", "stop_all", "healthcheck"):
        text = (ROOT / "scripts" / f"{name}.sh").read_text()
        assert len(text.splitlines()) <= 7
        assert re.search(r"^run (up|down|status)", text, re.MULTILINE)
    result = subprocess.run(["bash", "-n", ROOT / "tests" / "smoke_test.sh"], check=False, capture_output=True)
    assert result.returncode == 0
