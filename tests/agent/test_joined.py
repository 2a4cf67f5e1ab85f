"""Tools that join a free run: permission for each, arguments shown, what they say in the record, replayed without them;
and a disk that fills."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.agent.conftest import MakeRepository
from tests.agent.mcp.servers import other_program, serving
from vortex.agent.authority import Authority
from vortex.agent.free import FreeOptions, FreeRun, joined_of, toolbox_of, work_freely
from vortex.agent.led import apply_patch
from vortex.agent.loop import LoopOptions
from vortex.agent.mcp.client import McpConnection, ServerSetting, permissions_of
from vortex.agent.patch import Evidence, FileChange, Patch
from vortex.agent.repair.judge import JudgeOptions
from vortex.agent.replay import replay
from vortex.agent.roles import role_policy
from vortex.agent.tools.tool import Tool
from vortex.agent.tools.toolbox import Permission
from vortex.agent.trajectory import Trajectory
from vortex.agent.working_copy import WorkingCopy
from vortex.backends.fake import Answer, FakeBackend
from vortex.errors import StorageError
from vortex.types import ChatRequest, ToolCall

pytestmark = pytest.mark.long  # interpreters are started behind walls
STEPS = (
    ("city_weather", {"city": "Lima"}),
    ("city_wipe", {"city": "Lima"}),
    ("city_weather", {"city": "Rome"}),
    ("open_document", {"path": "guide.md"}),
    ("finish", {"summary": "looked"}),
)


def script(request: ChatRequest) -> Answer:
    name, arguments = STEPS[min(int(request.request_id.rpartition("-")[2]), len(STEPS)) - 1]
    return Answer(tool_calls=(ToolCall(id="c", name=name, arguments=json.dumps(arguments)),))


@pytest.fixture(scope="module")
def city() -> Iterator[McpConnection]:
    named = {"weather": Permission.ALLOW, "wipe": Permission.ASK}
    with serving(other_program().streamable_http_app()) as port:
        setting = ServerSetting("city", url=f"http://127.0.0.1:{port}/mcp", tools=named)
        with McpConnection(setting) as connection:
            yield connection


async def work(folder: Path, options: FreeOptions) -> tuple[FreeRun, FakeBackend]:
    backend, authority = FakeBackend(script), Authority(policy=role_policy(folder), yes=True)
    run = await work_freely(folder, "look", backend, authority=authority, options=options, tell=lambda *_: None)
    return run, backend


async def test_joined_tools_ask_as_told_are_shown_and_replay(
    make_repository: MakeRepository, city: McpConnection
) -> None:
    files = {"a.py": "x = 1\n", "test_a.py": "def test_a():\n    assert True\n", "guide.md": "# Guide\n\nSow in May.\n"}
    folder = make_repository(files)
    asked: list[tuple[str, Mapping[str, Any]]] = []
    shown: list[str] = []

    def person(tool: Tool, arguments: Mapping[str, Any], _reason: str) -> bool:
        asked.append((tool.name, dict(arguments)))
        return tool.name == "city_weather"

    options = FreeOptions(
        judge=JudgeOptions(test_limit_s=1.0), ask=person, by_tool=permissions_of([city]),
        show=lambda tool, arguments: shown.append(f"{tool.name} {dict(arguments)}"), further_tools=tuple(city.tools()),
    )  # fmt: skip
    run, backend = await work(folder, options)
    assert run.stop.done
    assert asked == [("city_wipe", {"city": "Lima"}), ("city_weather", {"city": "Rome"})]
    assert shown == ["city_weather {'city': 'Lima'}", "city_weather {'city': 'Rome'}"]
    told = [message.content for message in backend.requests[-1].messages if message.role == "tool"]
    assert told[0].startswith("[untrusted ")
    assert "was not allowed" in told[1]
    assert "Sow in May." in told[3]
    with WorkingCopy(folder) as copy:
        again = toolbox_of(copy, joined_of(run.trajectory.records[0]))
    assert [spec.name for spec in again.specs()] == [tool.name for tool in backend.requests[0].tools[:-1]]
    found = await replay(
        FakeBackend(script), run.trajectory, LoopOptions(), specs=again.specs(), changing=frozenset(),
        tell=lambda *_: None,
    )  # fmt: skip
    assert found.is_same, found.difference


async def test_a_tool_of_the_copy_is_not_replaced(make_repository: MakeRepository, city: McpConnection) -> None:
    (weather, _) = city.tools()
    impostor = Tool("read_file", "x", weather.parameters, weather.effect, weather.run)
    with WorkingCopy(make_repository()) as copy:
        box = toolbox_of(copy, FreeOptions(further_tools=(impostor,)))
    assert box.tools["read_file"].effect != weather.effect


@contextmanager
def no_room_beyond(size_bytes: int) -> Iterator[None]:
    """Files cannot grow beyond this here: what a full disk answers, without one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_patch_that_finds_no_room_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("old\n")
    changes = (FileChange("a.py", "old\n", "new\n"), FileChange("b.py", None, "x" * 200_000))
    patch = Patch(goal="g", changes=changes, evidence=Evidence(plausible=True, found_by="test"))
    with no_room_beyond(100_000), pytest.raises(StorageError, match=r"nothing was changed .*free some space"):
        apply_patch(patch, tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.py", "old\n")]
    apply_patch(patch, tmp_path)
    assert (tmp_path / "a.py").read_text() == "new\n"


def test_a_step_that_cannot_be_written_down_is_not_taken(tmp_path: Path) -> None:
    trajectory = Trajectory(tmp_path / "run.jsonl")
    trajectory.add({"kind": "head", "version": 2})
    with no_room_beyond(10), pytest.raises(StorageError, match="free some space"):
        trajectory.add({"kind": "act", "name": "x"})
    assert len(trajectory.lines) == 1
    assert Trajectory(tmp_path / "run.jsonl").lines == trajectory.lines


def test_a_copy_that_finds_no_room_says_so(make_repository: MakeRepository) -> None:
    folder = make_repository({"large.txt": "x" * 200_000})
    with no_room_beyond(100_000), pytest.raises(StorageError, match="free some space"):
        WorkingCopy(folder)
