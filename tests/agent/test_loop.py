"""The loop, its trajectory and its ends, with a scripted model on real tools behind walls."""

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

from tests.agent.conftest import FAULTY, MakeRepository
from vortex.agent.authority import Authority
from vortex.agent.free import FreeOptions, FreeRun, work_freely
from vortex.agent.loop import INTERRUPTED, Budget, LoopOptions
from vortex.agent.repair.judge import JudgeOptions
from vortex.agent.replay import replay
from vortex.agent.roles import role_policy
from vortex.agent.trajectory import Trajectory, read
from vortex.agent.window import Window
from vortex.backends.fake import Answer, FakeBackend
from vortex.errors import AgentStopped, ContextOverflow
from vortex.types import ChatMessage, ChatRequest, ToolCall

pytestmark = pytest.mark.long  # interpreters are started behind walls
EDIT = ("replace_text", {"path": "numbers_of.py", "old": "value < best", "new": "value > best"})
READ = ("read_file", {"path": "numbers_of.py"})
FINISH = ("finish", {"summary": "the sign was wrong"})
Call = tuple[str, dict[str, object]]


def answer(call: Call) -> Answer:
    return Answer(tool_calls=(ToolCall(id="c", name=call[0], arguments=json.dumps(call[1])),))


def by_step(*calls: Call) -> Callable[[ChatRequest], Answer]:
    """The call of a step depends on the step alone, as a deterministic model's would; the last one is repeated."""

    def script(request: ChatRequest) -> Answer:
        step = int(request.request_id.rpartition("-")[2])
        return answer(calls[min(step, len(calls)) - 1])

    return script


async def work(
    folder: Path, script: Callable[[ChatRequest], Answer], *, record: Path | None = None, **budget: float
) -> tuple[FreeRun, FakeBackend]:
    backend = FakeBackend(script)
    options = FreeOptions(
        loop=LoopOptions(budget=Budget(**budget)),  # type: ignore[arg-type]  # numbers of a test
        judge=JudgeOptions(test_limit_s=1.0),
        record=record,
    )
    authority = Authority(policy=role_policy(folder), yes=True)
    run = await work_freely(folder, "mend it", backend, authority=authority, options=options, tell=lambda *_: None)
    return run, backend


async def test_read_edit_test_finish_makes_a_patch_and_leaves_the_folder(make_repository: MakeRepository) -> None:
    folder = make_repository()
    run, backend = await work(folder, by_step(READ, EDIT, ("run_tests", {}), FINISH))
    assert run.stop.done
    assert run.patch is not None
    assert "+        if best is None or value > best:" in run.patch.diff
    assert (folder / "numbers_of.py").read_text() == FAULTY
    seen = "\n".join(message.content for message in backend.requests[-1].messages)
    assert "8" in seen
    assert "3 passed" in seen
    offered = {tool.name for tool in backend.requests[0].tools}
    assert {"read_file", "edit_lines", "run_tests", "finish"} <= offered
    assert backend.requests[0].tool_choice == "required"


async def test_finish_is_believed_only_when_the_tests_pass(make_repository: MakeRepository) -> None:
    run, backend = await work(make_repository(), by_step(FINISH, EDIT, FINISH))
    assert run.stop.done
    assert "not done" in backend.requests[1].messages[-1].content
    assert "test_largest" in backend.requests[1].messages[-1].content


@pytest.mark.parametrize(
    ("script", "budget", "reason"),
    [
        (by_step(READ), {}, "repeats"),
        (by_step(FINISH), {}, "repeats"),
        (lambda _: Answer(text="I would rather talk."), {}, "nonsense"),
        (by_step(*[("read_file", {"path": "numbers_of.py", "start": n}) for n in range(1, 9)]), {"steps": 3}, "steps"),
        (
            by_step(*[("read_file", {"path": "numbers_of.py", "start": n}) for n in range(1, 9)]),
            {"tokens": 90},
            "tokens",
        ),
        (by_step(READ), {"seconds": 0.0}, "seconds"),
    ],
)
async def test_a_run_that_leads_nowhere_ends(
    make_repository: MakeRepository, script: Callable[[ChatRequest], Answer], budget: dict[str, float], reason: str
) -> None:
    run, _ = await work(make_repository(), script, **budget)
    assert run.stop.reason == reason
    assert not run.stop.done
    assert run.patch is None
    assert run.trajectory.is_over


async def test_the_same_run_gives_the_same_bytes_and_replays(make_repository: MakeRepository, tmp_path: Path) -> None:
    folder, script = make_repository(), by_step(READ, EDIT, FINISH)
    first, _ = await work(folder, script, record=tmp_path / "one")
    second, _ = await work(folder, script, record=tmp_path / "two")
    assert first.trajectory.digest() == second.trajectory.digest()
    assert first.trajectory.path is not None
    recorded = read(first.trajectory.path)
    for other, same in ((script, True), (by_step(READ, READ, FINISH), False)):
        found = await replay(
            FakeBackend(other), recorded, LoopOptions(), specs=(), changing=frozenset({"replace_text"}),
            tell=lambda *_: None,
        )  # fmt: skip
        assert found.is_same is same
    assert found.difference.startswith("line 4")


async def test_a_run_goes_on_where_it_was_cut(make_repository: MakeRepository, tmp_path: Path) -> None:
    folder, script = make_repository(), by_step(READ, EDIT, ("run_tests", {}), FINISH)
    whole, _ = await work(folder, script, record=tmp_path / "r")
    path = whole.trajectory.path
    assert path is not None
    lines = path.read_text().splitlines(keepends=True)
    for kept, torn in ((5, ""), (5, '{"kind":"act","st'), (1, "")):
        path.write_text("".join(lines[:kept]) + torn)
        again, backend = await work(folder, script, record=tmp_path / "r")
        assert again.stop.done, kept
        assert again.resumed is (kept > 1)
        assert again.patch is not None
        assert whole.patch is not None
        assert len(backend.requests) < 4 or kept == 1
        assert again.patch.diff == whole.patch.diff
        assert path.read_text() == "".join(lines)


async def test_an_act_without_its_result_is_taken_up_as_unknown(
    make_repository: MakeRepository, tmp_path: Path
) -> None:
    folder = make_repository()
    whole, _ = await work(folder, by_step(READ, EDIT, FINISH), record=tmp_path / "r")
    path = whole.trajectory.path
    assert path is not None
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:4]))  # head, act, observe, act
    again, backend = await work(folder, by_step(READ, EDIT, EDIT, FINISH), record=tmp_path / "r")
    assert backend.requests[0].messages[-1].content == INTERRUPTED
    assert again.stop.done


async def test_kill_9_in_the_midst_and_on_again(make_repository: MakeRepository, tmp_path: Path) -> None:
    """Another process runs the loop with a slow model and is killed; this one finishes its work."""
    folder, record = make_repository(), tmp_path / "runs"
    program = f"""
import asyncio, sys
sys.path.insert(0, {str(Path.cwd())!r})
from tests.agent.test_loop import *
from vortex.backends.fake import Pace
FakeBackend.__init__.__kwdefaults__["pace"] = Pace(first_ms=700)
asyncio.run(work(Path({str(folder)!r}), by_step(READ, EDIT, FINISH), record=Path({str(record)!r})))
"""
    child = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        files = list(record.glob("*.jsonl"))
        if files and files[0].read_text().count('"kind":"act"') >= 1:
            break
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    run, backend = await work(folder, by_step(READ, EDIT, FINISH), record=record)
    assert run.resumed
    assert run.stop.done
    assert len(backend.requests) < 3


async def test_protected_paths_commands_and_memory_are_refused_in_the_copy(make_repository: MakeRepository) -> None:
    calls: list[Call] = [
        ("write_file", {"path": "tests/test_numbers.py", "text": "def test(): pass\n"}),
        ("write_file", {"path": ".github/workflows/x.yml", "text": "on: push\n"}),
        ("write_file", {"path": "../outside.txt", "text": "x"}),
        ("run_command", {"command": "touch made-by-a-command"}),
        EDIT,
        FINISH,
    ]
    folder = make_repository()
    run, backend = await work(folder, by_step(*calls))
    assert run.stop.done
    assert run.patch is not None
    assert run.patch.paths == ("numbers_of.py",)
    told = [message.content for message in backend.requests[-1].messages if message.role == "tool"]
    assert "tests judge" in told[0]
    assert "runs by itself" in told[1]
    assert "leaves the folder" in told[2]
    assert "not allowed" in told[3]
    assert not (folder.parent / "outside.txt").exists()


async def test_a_window_that_overflows_is_tightened_until_it_fits(make_repository: MakeRepository) -> None:
    inner = by_step(READ, EDIT, FINISH)
    refused = [0]

    def script(request: ChatRequest) -> Answer:
        size = sum(len(message.content) for message in request.messages)
        if size > 1400:
            refused[0] += 1
            raise ContextOverflow("too long")
        return inner(request)

    (folder := make_repository()).joinpath("numbers_of.py").write_text(FAULTY + "# filler\n" * 300)
    run, backend = await work(folder, script)
    assert run.stop.reason in {"finished", "window"}
    assert refused[0] > 0
    assert any("dropped to fit the window" in m.content for m in backend.requests[-1].messages)


def test_the_oldest_observations_are_dropped_first_and_said() -> None:
    messages = [ChatMessage(role="system", content="s"), ChatMessage(role="user", content="task")]
    for number in range(4):
        messages.append(ChatMessage(role="assistant", tool_calls=(ToolCall(id="1", name="read", arguments="{}"),)))
        messages.append(ChatMessage(role="tool", content=f"{number}" * 900, tool_call_id="1"))
    window = Window(context_tokens=1000, answer_tokens=100)
    kept, dropped = window.fit(messages)
    assert dropped == [3, 5]
    assert "dropped to fit the window: 900 characters" in kept[3].content
    assert kept[1].content == "task"
    assert kept[-1].content == "3" * 900
    assert Window(None, 100).fit(messages) == (messages, [])
    tight, _ = Window(context_tokens=200, answer_tokens=100).fit(messages)
    assert "characters were dropped" in tight[-1].content
    assert window.fit(kept)[1] == [] or window.fit(kept)[0] != messages


def test_a_file_that_is_no_trajectory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("{}\n")
    for path in (tmp_path / "x", tmp_path / "none"):
        with pytest.raises(AgentStopped, match="no trajectory"):
            read(path)
    trajectory = Trajectory(tmp_path / "y")
    trajectory.add({"kind": "head", "version": 2})
    assert (tmp_path / "y").stat().st_mode & 0o777 == 0o600
