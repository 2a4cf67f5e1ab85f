"""What a run gives back, what it is given, and what is refused before it starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vortex.errors import ConfigError, SandboxRefused
from vortex.sandbox import Completed, Policy, probe, python_paths, run

PYTHON = [sys.executable, "-I", "-S", "-c"]


def shell(tier: str, folder: Path, script: str, **policy: object) -> Completed:
    return run(["/bin/sh", "-c", script], Policy(folder=folder, time_s=10, **policy), require=tier)


def test_the_folder_is_writable_and_the_answer_is_whole(tier: str, tmp_path: Path) -> None:
    done = shell(tier, tmp_path, "echo out; echo err >&2; echo kept > file; exit 3")
    assert (done.exit_code, done.stdout, done.stderr, done.reason) == (3, "out\n", "err\n", "")
    assert done.tier == tier
    assert (tmp_path / "file").read_text() == "kept\n"


def test_standard_input_reaches_the_command(tier: str, tmp_path: Path) -> None:
    sent = os.urandom(300_000).hex().encode()
    done = run(["/usr/bin/wc", "-c"], Policy(folder=tmp_path), require=tier, stdin=sent)
    assert done.stdout.strip() == str(len(sent))


def test_a_command_that_does_not_read_is_no_error(tier: str, tmp_path: Path) -> None:
    done = run(["/bin/true"], Policy(folder=tmp_path), require=tier, stdin=b"x" * 1_000_000)
    assert done.exit_code == 0


def test_python_with_its_packages_runs(tier: str, tmp_path: Path) -> None:
    policy = Policy(folder=tmp_path, read=python_paths(), time_s=30)
    done = run([sys.executable, "-c", "import numpy; print(numpy.arange(3).sum())"], policy, require=tier)
    assert done.stdout == "3\n", done.stderr


@pytest.mark.parametrize(("program", "code"), [("no-such-program", 127), ("./plain", 126), ("/no/such", 127)])
def test_a_program_that_cannot_start_says_so(tier: str, tmp_path: Path, program: str, code: int) -> None:
    (tmp_path / "plain").write_text("not a program")
    (tmp_path / "plain").chmod(0o600)
    done = run([program], Policy(folder=tmp_path), require=tier)
    assert done.exit_code == code
    assert program in done.stderr


def test_output_is_cut_and_said(tier: str, tmp_path: Path) -> None:
    done = shell(tier, tmp_path, "head -c 5000 /dev/zero | tr '\\0' a", output_bytes=1000)
    assert done.stdout == "a" * 1000
    assert done.truncated
    assert done.exit_code == 0


def test_a_flood_of_output_ends_the_run(tier: str, tmp_path: Path) -> None:
    done = shell(tier, tmp_path, "yes", output_bytes=1000)
    assert (done.reason, done.exit_code) == ("output", 137)
    assert len(done.stdout) == 1000


def test_time_is_up(tier: str, tmp_path: Path) -> None:
    done = run(["/bin/sleep", "60"], Policy(folder=tmp_path, time_s=0.3), require=tier)
    assert (done.reason, done.exit_code) == ("time", 124)
    assert done.seconds < 5


def test_blocks_are_handed_over_as_they_come(tier: str, tmp_path: Path) -> None:
    seen: list[tuple[str, bytes]] = []
    done = run(
        ["/bin/sh", "-c", "echo a; echo b >&2"],
        Policy(folder=tmp_path),
        require=tier,
        on_output=lambda stream, block: seen.append((stream, block)),
    )
    assert sorted(seen) == [("stderr", b"b\n"), ("stdout", b"a\n")]
    assert done.stdout == ""


def test_a_signal_that_ends_the_command_is_its_exit_code(tier: str, tmp_path: Path) -> None:
    done = shell(tier, tmp_path, "kill -9 $$")
    assert done.exit_code == 137
    assert done.reason == ""


def test_the_environment_is_an_allow_list(tier: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-of-the-caller")
    done = run(["/usr/bin/env"], Policy(folder=tmp_path, environment={"MINE": "1"}), require=tier)
    seen = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert "secret-of-the-caller" not in done.stdout
    assert seen["MINE"] == "1"
    assert seen["C3RNT2_NO_NET"] == "1"


def test_a_read_path_is_readable_and_not_writable(tier: str, tmp_path: Path) -> None:
    given = tmp_path / "given\nwith a line break"
    given.mkdir()
    (given / "file").write_text("content")
    work = tmp_path / "work"
    work.mkdir()
    script = 'cat "$1/file"; echo x > "$1/new" || echo refused; rm "$1/file" || echo kept'
    done = run(["/bin/sh", "-c", script, "sh", str(given)], Policy(folder=work, read=(given,)), require=tier)
    assert "content" in done.stdout
    assert "refused" in done.stdout
    assert "kept" in done.stdout
    assert [path.name for path in given.iterdir()] == ["file"]


def test_one_line_a_run_says_what_was_granted(tier: str, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "runs.jsonl"
    work = tmp_path / "work"
    work.mkdir()
    policy = Policy(folder=work, environment={"TOKEN": "do-not-log-me"})
    run(["/bin/true"], policy, require=tier, log=log)
    run(["/bin/false"], policy, require=tier, log=log)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["exit_code"] for line in lines] == [0, 1]
    assert lines[0]["tier"] == tier
    assert lines[0]["granted"]["environment"] == ["TOKEN"]
    assert "do-not-log-me" not in log.read_text()


@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_the_parent(tier: str, tmp_path: Path, ended_by: signal.Signals) -> None:
    code = (
        "import sys; from pathlib import Path; from vortex.sandbox import Policy\n"
        "from vortex.sandbox.running import run_in_tier\n"
        "script = 'setsid sleep 4321 & setsid sh -c \"sleep 4321; true\" & echo up > up; sleep 4321'\n"
        "run_in_tier(sys.argv[1], ['/bin/sh', '-c', script], Policy(folder=Path(sys.argv[2]), time_s=100))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, tier, str(tmp_path)], stderr=subprocess.DEVNULL)
    wait_until((tmp_path / "up").exists)
    assert running("sleep 4321", tmp_path)
    parent.send_signal(ended_by)
    parent.wait(10)
    wait_until(lambda: not running("sleep 4321", tmp_path))


def running(words: str, folder: Path) -> list[int]:
    """Processes with this command line whose current folder is the run's."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if words in line and (process / "cwd").readlink().name == folder.name:
                    found.append(int(process.name))
            except OSError:
                continue
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("grants", "words"),
    [
        ({"write": (Path("/"),)}, "cannot be granted"),
        ({"write": (Path("/usr"),)}, "cannot be writable"),
        ({"read": (Path.home(),)}, "home folder"),
        ({"read": (Path("/no/such/place"),)}, "does not exist"),
        ({"read": (Path("/proc/1"),)}, "cannot be granted"),
        ({"protect": (Path("/usr/lib"),)}, "no writable folder"),
        ({"hide": (Path("/srv"),)}, "no granted folder"),
        ({"domains": ("example.org",)}, "without network"),
        ({"time_s": 0}, "above zero"),
        ({"memory_bytes": -1}, "above zero"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(tmp_path: Path, grants: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Policy(folder=tmp_path, **grants).checked()


def test_one_path_for_reading_and_for_writing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name it once"):
        Policy(folder=tmp_path, read=(tmp_path,)).checked()


def test_what_is_to_be_protected_must_be_there(tmp_path: Path) -> None:
    """Or it could be made by the command, and nothing would have been protected."""
    with pytest.raises(ConfigError, match="is not there"):
        Policy(folder=tmp_path, protect=(tmp_path / "gate",)).checked()


def test_an_unknown_tier_is_refused() -> None:
    with pytest.raises(ConfigError, match="no tier"):
        probe("stone")


def test_an_empty_command_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SandboxRefused, match="empty"):
        run([], Policy(folder=tmp_path))
